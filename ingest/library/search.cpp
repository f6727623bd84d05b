#include "ingest/library/search.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace longleaf {
namespace {

constexpr double kTitleWeight = 2.0, kBodyWeight = 1.0;

// English words that build questions and sentences. Other languages lose nothing: BM25 weighs frequent words low.
constexpr std::array kFunctionWords = {
    "a",     "about", "an",   "and",   "are",  "as",    "at",    "be",    "been",  "by",   "can",   "could", "did",
    "do",    "does",  "for",  "from",  "had",  "has",   "have",  "how",   "i",     "if",   "in",    "into",  "is",
    "it",    "its",   "many", "me",    "much", "of",    "on",    "or",    "s",     "say",  "says",  "shall", "should",
    "that",  "the",   "their", "them", "there", "these", "they", "this",  "those", "to",   "was",   "were",  "what",
    "when",  "where", "which", "who",  "whom", "whose", "why",   "will",  "with",  "would", "you",  "your",  "document", "according"};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    const auto c = i < text.size() ? static_cast<unsigned char>(text[i]) : static_cast<unsigned char>(' ');
    // Bytes of the general punctuation block (curly quotes, dashes) separate words.
    const bool punctuation = c == 0xE2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) == 0x80;
    if (!punctuation && (std::isalnum(c) != 0 || c >= 0x80)) {
      word += static_cast<char>(std::tolower(c));
      continue;
    }
    if (punctuation) i += 2;
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  }
  return words;
}

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
        expression += " " + quoted(parts[i]) + (end == words.size() && i + 1 == parts.size() && parts[i].size() > 2 ? "*" : "");
    }
    in_phrase = !in_phrase;
    begin = end + 1;
  }
  return expression;
}

// True when a stemmer would likely join the two: the shorter is a prefix but for two letters.
bool related(const std::string& a, const std::string& b) {
  const size_t shorter = std::min(a.size(), b.size());
  if (a == b) return true;
  if (shorter < 4) return false;
  const size_t common = static_cast<size_t>(std::mismatch(a.begin(), a.begin() + static_cast<long>(shorter), b.begin()).first - a.begin());
  return common + 2 >= shorter && common >= 4;
}

void mark_words(const std::vector<BlockRow>& blocks, const std::vector<std::string>& wanted, SearchHit& hit) {
  bool found = false;
  for (const auto& [node, block] : blocks) {
    for (const WordPlace& place : block.words) {
      const auto parts = words_of(std::string_view(block.text).substr(place.offset, place.length));
      const bool marked = std::any_of(parts.begin(), parts.end(), [&](const std::string& part) {
        return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& w) { return related(w, part); });
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

std::vector<std::string> content_words(std::string_view text) {
  std::vector<std::string> content;
  for (auto& word : words_of(text))
    if (std::find(kFunctionWords.begin(), kFunctionWords.end(), word) == kFunctionWords.end() &&
        std::find(content.begin(), content.end(), word) == content.end())
      content.push_back(std::move(word));
  return content;
}

Result<std::vector<LexicalScore>> lexical_scores(Library& library, int64_t document, std::string_view question) {
  std::string expression;
  for (const auto& word : content_words(question)) expression += (expression.empty() ? "" : " OR ") + quoted(word);
  std::vector<LexicalScore> scores;
  if (expression.empty()) return scores;
  LL_RETURN_IF_ERROR(library.database().query(
      "SELECT i.rowid, -bm25(leaf_index, ?, ?) AS score FROM leaf_index i JOIN leaf_text t ON t.key = i.rowid"
      " WHERE leaf_index MATCH ? AND t.document = ? ORDER BY score DESC, i.rowid",
      {kTitleWeight, kBodyWeight, std::string_view(expression), document},
      [&](const Row& row) { return scores.push_back({row.integer(0), row.real(1)}), true; }));
  return scores;
}

Result<std::vector<SearchHit>> search(Library& library, int64_t document, std::string_view words, int limit) {
  std::vector<SearchHit> hits;
  const std::string expression = search_expression(words);
  if (expression.empty()) return Status(Code::Invalid, "There is no word to search for");
  LL_RETURN_IF_ERROR(library.database().query(
      "SELECT i.rowid, -bm25(leaf_index, ?, ?) AS score, snippet(leaf_index, 1, '**', '**', '…', 24)"
      " FROM leaf_index i JOIN leaf_text t ON t.key = i.rowid WHERE leaf_index MATCH ? AND t.document = ?"
      " ORDER BY score DESC, i.rowid LIMIT ?",
      {kTitleWeight, kBodyWeight, std::string_view(expression), document, int64_t{limit}},
      [&](const Row& row) { return hits.push_back({row.integer(0), 0, row.real(1), std::string(row.text(2)), {}}), true; }));
  const auto wanted = words_of(words);
  for (SearchHit& hit : hits) {
    const auto blocks = library.leaf_blocks(hit.leaf);
    if (!blocks.ok()) return blocks.status();
    mark_words(*blocks, wanted, hit);
  }
  return hits;
}

}  // namespace longleaf
