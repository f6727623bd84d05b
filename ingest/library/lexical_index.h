// Ranks the leaves of one document by the words they share with a question: BM25 (Robertson and Zaragoza, 2009) with
// the document's own statistics, and what helps beyond it (RESULTS.md has the ablation). Const methods: any thread. Not
// for searching as one types: search.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
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
  struct Unit {  // a leaf or a page
    float length = 0;
    std::unordered_map<int, float> counts;  // word → weighted count
  };
  struct Leaf {
    int64_t key = 0;
    int page_first = 0, page_last = 0;
    bool is_contents = false;
    Unit unit;
    std::vector<int> words;  // content words in order, title path first
  };
  int word_id(const std::string& word);
  void add(Unit& unit, const std::vector<int>& words, float weight);
  std::vector<int> known_words(std::string_view question) const;
  template <typename UnitOf>
  std::vector<double> bm25(size_t n, const std::vector<int>& question, UnitOf&& unit_of) const;

  std::unordered_map<std::string, int> ids_;
  std::vector<Leaf> leaves_;
  std::vector<Unit> pages_;
};

// The question without what it says about the form of the answer: "Round your answer to two decimals."
std::string without_instructions(std::string_view question);

}  // namespace longleaf
