// How near an answer is to the answers that count as right, as the field scores it. Of several references the best
// counts. Pure functions: any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longleaf {

struct TextScores {
  double exact = 0;    // 1 where the words are the same (SQuAD: lower case, without punctuation and articles)
  double f1 = 0;       // of the words in common (SQuAD)
  double rouge_l = 0;  // F-measure of the longest common subsequence of words (ROUGE-L, without stemming)
};

// SQuAD: Rajpurkar et al., arXiv 1606.05250, and its scoring script; ROUGE: Lin, ACL 2004 workshop, as the rouge_score
// package computes it. No references: all zero.
TextScores score_text(std::string_view answer, const std::vector<std::string>& references);

}  // namespace longleaf
