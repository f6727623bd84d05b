// Which sentences of the evidence carry a sentence of the answer, and which answer a question verbatim. Mechanical:
// words in common, weighed by how rare they are in the evidence. Pure functions: any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longleaf {

struct Support {
  int sentence = -1;  // index into the evidence; -1: none carries it
  double share = 0;   // of the weight of the words asked for that the sentence has
};

class SentenceIndex {
 public:
  // sentences  of the evidence, in reading order
  explicit SentenceIndex(const std::vector<std::string>& sentences);

  // The sentence that best carries `claim`: at least half of its weight, two content words (or its only one), and every
  // number of the claim must stand there too.
  //   names_too  so must what is written like a name (a capital letter, not at the beginning): for claims of a model
  //   that
  //              had not read the words, and may remember them wrong
  Support support_for(std::string_view claim, bool names_too = false) const;

  // Sentences ranked by the weight of the question's words they have, best first; those without any are left out.
  // `bonus` is added to the share of sentence i (how well its leaf was routed), or empty.
  std::vector<Support> answers_to(std::string_view question, const std::vector<double>& bonus) const;

 private:
  double weight(const std::string& stem) const;
  double share(const std::vector<std::string>& wanted, size_t sentence) const;
  std::vector<std::vector<std::string>> stems_;  // per sentence, sorted, each once
  std::vector<bool> is_question_;
  std::vector<std::string> all_stems_;  // sorted, one entry per sentence that has it
};

}  // namespace longleaf
