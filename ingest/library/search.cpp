#include "ingest/library/search.h"

#include <algorithm>

#include "engine/base/words.h"

namespace longleaf {
namespace {

constexpr double kTitleWeight = 2.0, kBodyWeight = 1.0;

std::string quoted(const std::string& word) { return '"' + word + '"'; }

// "exact phrase" word word beg → "exact phrase" "word" "word" "beg"*
std::string search_expression(std::string_view words) {
  std::string expression;
  bool in_phrase = false;
  for (size_t begin = 0; begin <= words.size();) {
    const size_t end = std::min(words.find('"', begin), words.size());
    const auto parts = words_of(words.substr(begin, end - begin));
    if (in_phrase && !parts.empty()) {
      expression += " \"";
      for (size_t i = 0; i < parts.size(); ++i) expression += (i > 0 ? " " : "") + parts[i];
      expression += '"';
    } else {
      for (size_t i = 0; i < parts.size(); ++i)
        expression +=
            " " + quoted(parts[i]) + (end == words.size() && i + 1 == parts.size() && parts[i].size() > 2 ? "*" : "");
    }
    in_phrase = !in_phrase;
    begin = end + 1;
  }
  return expression;
}

void mark_words(const std::vector<BlockRow>& blocks, const std::vector<std::string>& wanted, SearchHit& hit) {
  bool found = false;
  for (const auto& [node, block] : blocks) {
    for (const WordPlace& place : block.words) {
      const auto parts = words_of(std::string_view(block.text).substr(place.offset, place.length));
      const bool marked = std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
        return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) { return stem(w) == stem(part); });
      });
      if (!marked || (found && block.page != hit.page)) continue;
      found = true;
      hit.page = block.page;
      hit.boxes.push_back(place.box);
    }
  }
  if (!found && !blocks.empty()) hit.page = blocks[0].block.page;
}

}  // namespace

Result<std::vector<SearchHit>> search(Library& library, int64_t document, std::string_view words, int limit) {
  std::vector<SearchHit> hits;
  const std::string expression = search_expression(words);
  if (expression.empty()) return Status(Code::Invalid, "There is no word to search for");
  LL_RETURN_IF_ERROR(library.database().query(
      "SELECT i.rowid, -bm25(leaf_index, ?, ?) AS score, snippet(leaf_index, 1, '**', '**', '…', 24)"
      " FROM leaf_index i JOIN leaf_text t ON t.key = i.rowid WHERE leaf_index MATCH ? AND t.document = ?"
      " ORDER BY score DESC, i.rowid LIMIT ?",
      {kTitleWeight, kBodyWeight, std::string_view(expression), document, int64_t{limit}}, [&](const Row& row) {
        return hits.push_back({row.integer(0), 0, row.real(1), std::string(row.text(2)), {}}), true;
      }));
  const auto wanted = words_of(words);
  for (SearchHit& hit : hits) {
    const auto blocks = library.leaf_blocks(hit.leaf);
    if (!blocks.ok()) return blocks.status();
    mark_words(*blocks, wanted, hit);
  }
  return hits;
}

}  // namespace longleaf
