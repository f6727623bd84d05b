#include "ingest/library/search.h"

#include <algorithm>

#include "engine/base/words.h"
#include "ingest/layout/letters.h"

namespace longleaf {
namespace {

constexpr double kTitleWeight = 2.0, kBodyWeight = 1.0;

std::string quoted(const std::string& word) { return '"' + word + '"'; }

// Words without marks that stand alone, as "§" and "€": the index has none of these.
std::vector<std::string> indexed_words(std::string_view text) {
  auto words = words_of(text);
  std::erase_if(words, [](const std::string& word) { return !has_letter_or_digit(word); });
  return words;
}

// "exact phrase" word beg → "exact phrase" AND "word" AND ("beg" OR "beg"*)
std::string search_expression(std::string_view words) {
  std::string expression;
  const auto add = [&](const std::string& term) { expression += (expression.empty() ? "" : " AND ") + term; };
  bool in_phrase = false;
  for (size_t begin = 0; begin <= words.size();) {
    const size_t end = std::min(words.find('"', begin), words.size());
    const auto parts = indexed_words(words.substr(begin, end - begin));
    if (in_phrase && !parts.empty()) {
      std::string phrase;
      for (size_t i = 0; i < parts.size(); ++i) phrase += (i > 0 ? " " : "") + parts[i];
      add('"' + phrase + '"');
    } else {
      for (size_t i = 0; i < parts.size(); ++i) {
        const std::string word = quoted(parts[i]);
        const bool typing = end == words.size() && i + 1 == parts.size() && parts[i].size() > 2;
        add(typing ? "(" + word + " OR " + word + "*)" : word);
      }
    }
    in_phrase = !in_phrase;
    begin = end + 1;
  }
  return expression;
}

// What FTS5 is asked to put around a match; no text has them.
constexpr char kBegin = '\x1D', kEnd = '\x1E';

// The boxes of the matches on the first page that has one. `marked` is the leaf's text, its blocks one per line, with
// each match between kBegin and kEnd.
void mark_words(const std::vector<BlockRow>& blocks, std::string_view marked, SearchHit& hit) {
  bool found = false;
  size_t block = 0, at = 0, match = 0;  // `at` in the text of the block, without marks
  for (const char c : marked) {
    if (block >= blocks.size()) break;
    const Block& current = blocks[block].block;
    if (c == kBegin) {
      match = at;
    } else if (c == kEnd) {
      if (!found) found = true, hit.page = current.page;
      const auto boxes = boxes_of(current, match, at);
      if (current.page == hit.page) hit.boxes.insert(hit.boxes.end(), boxes.begin(), boxes.end());
    } else if (at == current.text.size()) {
      ++block, at = match = 0;  // the line break between blocks
    } else {
      ++at;
    }
  }
  if (!found && !blocks.empty()) hit.page = blocks[0].block.page;
}

}  // namespace

Result<std::vector<SearchHit>> search(Library& library, int64_t document, std::string_view words, int limit) {
  std::vector<SearchHit> hits;
  std::vector<std::string> marked;  // texts of the hits
  const std::string expression = search_expression(words);
  if (expression.empty()) return Status(Code::Invalid, "There is no word to search for");
  LL_RETURN_IF_ERROR(library.database().query(
      "SELECT i.rowid, -bm25(leaf_index, ?, ?) AS score, snippet(leaf_index, 1, '**', '**', '…', 24),"
      " highlight(leaf_index, 1, char(29), char(30))"
      " FROM leaf_index i JOIN leaf_text t ON t.key = i.rowid WHERE leaf_index MATCH ? AND t.document = ?"
      " ORDER BY score DESC, i.rowid LIMIT ?",
      {kTitleWeight, kBodyWeight, std::string_view(expression), document, int64_t{limit}}, [&](const Row& row) {
        marked.emplace_back(row.text(3));
        return hits.push_back({row.integer(0), 0, row.real(1), std::string(row.text(2)), {}}), true;
      }));
  for (size_t i = 0; i < hits.size(); ++i) {
    const auto blocks = library.leaf_blocks(hits[i].leaf);
    if (!blocks.ok()) return blocks.status();
    mark_words(*blocks, marked[i], hits[i]);
  }
  return hits;
}

}  // namespace longleaf
