#include "ingest/library/lexical_index.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <numeric>
#include <queue>
#include <set>
#include <utility>

#include "engine/base/words.h"
#include "ingest/library/derived_figures.h"

namespace longleaf {
namespace {

constexpr double kSaturation = 1.2, kLengthShare = 0.9;  // k1 and b of BM25
constexpr float kTitleWeight = 4;                        // of 1 to 7 tried, 3 to 7 are alike and better
constexpr double kPageShare = 0.5;                       // of its page's score that a leaf gets
constexpr double kPairBonus = 1.0;                       // for two words of the question that follow each other
constexpr double kContentsShare = 0.3;                   // of their score, for leaves of a table of contents
constexpr double kSamePage = 0.5;                        // of its score, for each better leaf of the page
constexpr double kNamedPage = 20;                        // for a leaf on a page that the question names
constexpr int kFunctionWord = -1;
constexpr size_t kHeaderRows = 2;  // of a table, known to all leaves that have rows of it

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// "fy2021" also means 2021.
void add_number_inside(const std::string& word, std::vector<std::string>& words) {
  const size_t at = word.find_first_of("0123456789");
  if (at == 0 || at == std::string::npos || at > 3 || word.size() - at < 2) return;
  if (std::all_of(word.begin() + static_cast<long>(at), word.end(), is_digit)) words.push_back(word.substr(at));
}

std::vector<std::string> stems_of(std::string_view text) {
  std::vector<std::string> stems;
  for (const auto& word : words_of(text))
    if (!is_function_word(word)) stems.push_back(stem(word));
  return stems;
}

// Pages that are named: "on page 14", "slides 3".
std::vector<int> named_pages(std::string_view question) {
  std::vector<int> pages;
  const auto words = words_of(question);
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    const bool names = words[i] == "page" || words[i] == "pages" || words[i] == "slide" || words[i] == "slides";
    if (names && words[i + 1].size() < 6 && std::all_of(words[i + 1].begin(), words[i + 1].end(), is_digit))
      pages.push_back(std::stoi(words[i + 1]));
  }
  return pages;
}

// Whether words[at...] asks for a form of the answer. Verbs need their object: "round" alone may be a shape.
bool begins_instruction(const std::vector<std::string>& words, size_t at) {
  static const std::set<std::string> verbs = {"round",   "give",   "provide", "write",
                                              "express", "format", "return",  "state"};
  static const std::set<std::string> fill = {"me", "your", "the", "final", "an", "a"};
  static const std::set<std::string> objects = {"answer", "answers", "result", "results", "integer"};
  static const std::set<std::string> after = {"in", "as", "with", "to"};
  const auto is = [&](size_t i, const std::set<std::string>& set) {
    return i < words.size() && set.count(words[i]) != 0;
  };
  if (is(at, objects) && is(at + 1, after)) return true;
  if ((words[at] == "round" || words[at] == "rounded") && at + 1 < words.size() && words[at + 1] == "to") return true;
  if (!is(at, verbs)) return false;
  size_t object = at + 1;
  while (is(object, fill)) ++object;
  return is(object, objects);
}

}  // namespace

std::string without_instructions(std::string_view question) {
  std::string kept;
  for (size_t begin = 0; begin < question.size();) {
    const size_t end = std::min(question.find_first_of(".?!;\n", begin), question.size() - 1) + 1;
    const auto clause = question.substr(begin, end - begin);
    const auto words = words_of(clause);
    size_t n = 0;
    while (n < words.size() && !begins_instruction(words, n)) ++n;
    for (size_t i = 0; i < n; ++i) kept += (kept.empty() ? "" : " ") + words[i];
    begin = end;
  }
  return content_words(kept).empty() ? std::string(question) : kept;
}

std::vector<int> LexicalIndex::add_words(std::string_view text, std::unordered_map<std::string, int>& seen) {
  std::vector<int> ids;
  for (auto& word : words_of(text)) {
    const auto [it, is_new] = seen.try_emplace(std::move(word), kFunctionWord);
    if (is_new && !is_function_word(it->first))
      it->second = ids_.try_emplace(stem(it->first), static_cast<int>(ids_.size())).first->second;
    if (it->second != kFunctionWord) ids.push_back(it->second);
  }
  return ids;
}

void LexicalIndex::Units::add(size_t unit, const std::vector<int>& words, float weight) {
  if (lengths.size() <= unit) lengths.resize(unit + 1, 0.0f);
  lengths[unit] += weight * static_cast<float>(words.size());
  for (const int word : words) {
    if (postings.size() <= static_cast<size_t>(word)) postings.resize(static_cast<size_t>(word) + 1);
    auto& places = postings[static_cast<size_t>(word)];
    if (!places.empty() && places.back().first == static_cast<int>(unit))
      places.back().second += weight;
    else
      places.push_back({static_cast<int>(unit), weight});
  }
}

Result<LexicalIndex> LexicalIndex::build(Library& library, int64_t document) {
  LexicalIndex index;
  Database& database = library.database();
  std::unordered_map<int64_t, size_t> leaf_of;
  std::unordered_map<std::string, int> seen;
  const auto ids_of = [&](std::string_view text) { return index.add_words(text, seen); };
  LL_RETURN_IF_ERROR(database.query(
      "SELECT n.key, n.page_first, n.page_last, t.path FROM nodes n JOIN leaf_text t ON t.key = n.key"
      " WHERE n.document = ? ORDER BY n.ordinal",
      {document}, [&](const longleaf::Row& row) {
        Leaf leaf;
        leaf.key = row.integer(0);
        leaf.page_first = static_cast<int>(row.integer(1)), leaf.page_last = static_cast<int>(row.integer(2));
        leaf.words = ids_of(row.text(3));
        index.leaf_words_.add(index.leaves_.size(), leaf.words, kTitleWeight);
        leaf_of[leaf.key] = index.leaves_.size();
        index.leaves_.push_back(std::move(leaf));
        return true;
      }));
  std::vector<int> header;  // of the table that the last block belongs to
  size_t header_rows = 0, n_blocks = 0, n_entries = 0;
  BlockKind last_kind = BlockKind::Paragraph;
  int64_t last_leaf = 0;
  LL_RETURN_IF_ERROR(database.query("SELECT node, page, kind, text FROM blocks WHERE document = ? ORDER BY key",
                                    {document}, [&](const longleaf::Row& row) {
                                      const auto found = leaf_of.find(row.integer(0));
                                      if (found == leaf_of.end()) return true;
                                      Leaf& leaf = index.leaves_[found->second];
                                      const auto kind = static_cast<BlockKind>(row.integer(2));
                                      const auto page = static_cast<size_t>(std::max<int64_t>(0, row.integer(1)));
                                      const auto words = ids_of(row.text(3));
                                      if (last_leaf != leaf.key) n_blocks = n_entries = 0;
                                      ++n_blocks, n_entries += kind == BlockKind::TocEntry ? 1 : 0;
                                      leaf.is_contents = 2 * n_entries > n_blocks;
                                      if (kind == BlockKind::TableRow) {
                                        if (last_kind != BlockKind::TableRow) {
                                          if (last_kind != BlockKind::Caption) header.clear();
                                          header_rows = 0;
                                        } else if (last_leaf != leaf.key) {
                                          index.leaf_words_.add(found->second, header, 1);
                                        }
                                        if (header_rows++ < kHeaderRows)
                                          header.insert(header.end(), words.begin(), words.end());
                                      } else if (kind == BlockKind::Caption) {
                                        header = words;
                                      }
                                      index.leaf_words_.add(found->second, words, 1);
                                      leaf.words.insert(leaf.words.end(), words.begin(), words.end());
                                      index.page_words_.add(page, words, 1);
                                      last_kind = kind, last_leaf = leaf.key;
                                      return true;
                                    }));
  index.leaf_words_.lengths.resize(index.leaves_.size(), 0.0f);
  return index;
}

std::vector<std::string> LexicalIndex::known_figures(std::string_view question) const {
  auto figures = figures_behind(question);
  std::erase_if(figures, [&](const std::string& figure) {
    const auto stems = stems_of(figure);
    return !std::all_of(stems.begin(), stems.end(), [&](const std::string& stem) { return ids_.count(stem) != 0; });
  });
  return figures;
}

std::vector<int> LexicalIndex::known_words(std::string_view question) const {
  std::vector<std::string> words;
  for (const auto& word : content_words(without_instructions(question))) {
    words.push_back(stem(word));
    add_number_inside(word, words);
  }
  for (const auto& figure : known_figures(question))
    for (auto& word : stems_of(figure)) words.push_back(std::move(word));
  std::vector<int> ids;
  for (const auto& word : words)
    if (const auto it = ids_.find(word); it != ids_.end() && std::find(ids.begin(), ids.end(), it->second) == ids.end())
      ids.push_back(it->second);
  return ids;
}

std::set<std::pair<int, int>> LexicalIndex::known_pairs(std::string_view question) const {
  std::set<std::pair<int, int>> pairs;
  auto texts = known_figures(question);
  texts.push_back(without_instructions(question));
  for (const auto& text : texts) {
    const auto stems = stems_of(text);
    for (size_t i = 0; i + 1 < stems.size(); ++i)
      if (const auto a = ids_.find(stems[i]), b = ids_.find(stems[i + 1]); a != ids_.end() && b != ids_.end())
        pairs.insert({a->second, b->second});
  }
  return pairs;
}

std::vector<double> LexicalIndex::bm25(const Units& units, const std::vector<int>& question) {
  const size_t n = units.lengths.size();
  std::vector<double> scores(n, 0.0);
  const double length = std::accumulate(units.lengths.begin(), units.lengths.end(), 0.0);
  const double average = std::max(1.0, length / static_cast<double>(std::max<size_t>(1, n)));
  for (const int word : question) {
    if (static_cast<size_t>(word) >= units.postings.size()) continue;
    std::unordered_map<int, double> counts;
    for (const auto& [unit, count] : units.postings[static_cast<size_t>(word)]) counts[unit] += count;
    const auto df = static_cast<double>(counts.size());
    const double idf = std::log(1 + (static_cast<double>(n) - df + 0.5) / (df + 0.5));
    for (const auto& [unit, tf] : counts) {
      const double share = units.lengths[static_cast<size_t>(unit)] / average;
      scores[static_cast<size_t>(unit)] +=
          idf * tf * (kSaturation + 1) / (tf + kSaturation * (1 - kLengthShare + kLengthShare * share));
    }
  }
  return scores;
}

std::vector<LexicalScore> LexicalIndex::scores(std::string_view question) const {
  const auto words = known_words(question);
  auto scores = bm25(leaf_words_, words);
  const auto pages = bm25(page_words_, words);
  const auto named = named_pages(question);
  const auto pairs = known_pairs(question);

  std::priority_queue<std::pair<double, size_t>> queue;
  for (size_t i = 0; i < leaves_.size(); ++i) {
    const Leaf& leaf = leaves_[i];
    double& score = scores[i];
    if (score > 0) {
      std::set<std::pair<int, int>> seen;
      for (size_t w = 0; w + 1 < leaf.words.size() && !pairs.empty(); ++w)
        if (const std::pair pair{leaf.words[w], leaf.words[w + 1]}; pairs.count(pair) != 0) seen.insert(pair);
      score += kPairBonus * static_cast<double>(seen.size());
      const auto page = [&](int number) {
        return static_cast<size_t>(number) < pages.size() ? pages[static_cast<size_t>(number)] : 0.0;
      };
      score += kPageShare * std::max(page(leaf.page_first), page(leaf.page_last));
      if (leaf.is_contents) score *= kContentsShare;
    }
    for (int page : named)
      if (leaf.page_first + 1 <= page && page <= leaf.page_last + 1) score += kNamedPage;
    if (score > 0) queue.push({score, leaves_.size() - 1 - i});  // of equals the earlier first
  }
  std::vector<LexicalScore> ranked;
  std::map<int, int> better;  // leaves taken of a page
  while (!queue.empty()) {
    const auto [score, reversed] = queue.top();
    queue.pop();
    const size_t i = leaves_.size() - 1 - reversed;
    const double now = scores[i] * std::pow(kSamePage, better[leaves_[i].page_first]);
    if (now < score - 1e-12) {
      queue.push({now, reversed});
      continue;
    }
    ranked.push_back({leaves_[i].key, now});
    for (int page = leaves_[i].page_first; page <= leaves_[i].page_last; ++page) ++better[page];
  }
  return ranked;
}

}  // namespace longleaf
