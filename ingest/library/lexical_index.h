// Ranks the leaves of one document by the words they share with a question: BM25 (Robertson and Zaragoza, 2009) with
// the document's own statistics, and what helps beyond it (RESULTS.md has the ablation). Const methods: any thread. Not
// for searching as one types: search.h.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "ingest/library/library.h"

namespace longleaf {

struct LexicalScore {
  int64_t leaf = 0;
  double score = 0;  // larger is better
};

class LexicalIndex {
 public:
  static Result<LexicalIndex> build(Library& library, int64_t document);

  // Leaves that share a content word with `question`, or stand on a page it names ("on page 14"), best first.
  // Of the leaves of one page all but the best are set back, so that the first few come from several places.
  std::vector<LexicalScore> scores(std::string_view question) const;

 private:
  // Leaves or pages: how often each has each word, and how long it is.
  struct Units {
    std::vector<float> lengths;
    std::vector<std::vector<std::pair<int, float>>> postings;  // word → (unit, weighted count); a unit may come twice
    void add(size_t unit, const std::vector<int>& words, float weight);
  };
  struct Leaf {
    int64_t key = 0;
    int page_first = 0, page_last = 0;
    bool is_contents = false;
    std::vector<int> words;  // content words in order, title path first
  };
  // Stems of the content words of `text`, in order. `seen` remembers words as they are written.
  std::vector<int> add_words(std::string_view text, std::unordered_map<std::string, int>& seen);
  // Figures behind the question (derived_figures.h) all of whose words the document has.
  std::vector<std::string> known_figures(std::string_view question) const;
  // Of the question and of the figures behind it (derived_figures.h), those that the document has.
  std::vector<int> known_words(std::string_view question) const;
  std::set<std::pair<int, int>> known_pairs(std::string_view question) const;
  static std::vector<double> bm25(const Units& units, const std::vector<int>& question);

  std::unordered_map<std::string, int> ids_;
  std::vector<Leaf> leaves_;
  Units leaf_words_, page_words_;
};

// The question without what it says about the form of the answer: "Round your answer to two decimals."
std::string without_instructions(std::string_view question);

}  // namespace longleaf
