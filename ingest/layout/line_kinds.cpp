#include "ingest/layout/line_kinds.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <string_view>

namespace longleaf {
namespace {

constexpr size_t kFewestRows = 3;     // of a table
constexpr size_t kFewestEntries = 4;  // of a table of contents on one page
constexpr float kEntriesShare = 0.3f;
constexpr float kFootnoteSmaller = 0.93f;  // of the body's size, at most
constexpr float kFootnotesBelow = 0.4f;    // of the page's height
constexpr size_t kShortLine = 60;          // bytes

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

size_t bytes_of(const Line& line) {
  size_t n = 0;
  for (const Word& word : line.words) n += word.text.size() + 1;
  return n;
}

bool is_page_reference(std::string_view word) {
  while (!word.empty() && (word[0] == '.' || word[0] == ' ')) word.remove_prefix(1);
  if (word.empty() || word.size() > 6) return false;
  const bool digits = std::all_of(word.begin(), word.end(), is_digit);
  const bool roman = std::all_of(word.begin(), word.end(),
                                 [](char c) { return std::string_view("ivxlc").find(c) != std::string_view::npos; });
  // "A-3", "4-12": pages counted by chapter
  const size_t dash = word.find('-');
  const bool by_chapter = dash != std::string_view::npos && dash > 0 && dash + 1 < word.size() && is_digit(word.back());
  return (digits && word.size() <= 4) || roman || by_chapter;
}

std::string_view after_leader(std::string_view word) {
  const size_t dots = word.rfind('.');
  return dots == std::string_view::npos ? word : word.substr(dots + 1);
}

bool has_leader(const Line& line) {
  for (const Word& word : line.words)
    for (std::string_view dots : {"....", "\u2026\u2026", "____"})
      if (word.text.find(dots) != std::string::npos) return true;
  int alone = 0;
  for (const Word& word : line.words) {
    alone = word.text == "." || word.text == "\u00B7" || word.text == "\u2026" || word.text == ".." ? alone + 1 : 0;
    if (alone >= 3) return true;
  }
  return false;
}

// "Title ........ 12", or a title and its page at the far end of the line.
bool is_toc_entry(const Line& line) {
  if (line.words.size() < 2) return false;
  if (!is_page_reference(after_leader(line.words.back().text))) return false;
  return has_leader(line) || line.cells == std::vector<size_t>{line.words.size() - 1} ||
         (line.cells.size() == 2 && line.cells[1] == line.words.size() - 1 && line.cells[0] == 1);
}

bool begins_caption(const Line& line) {
  static constexpr std::array<std::string_view, 18> names = {
      "figure", "fig", "table", "tab",       "chart", "exhibit", "algorithm", "listing", "scheme",
      "plate",  "map", "photo", "abbildung", "abb",   "tabelle", "tableau",   "figura",  "tabla"};
  if (line.words.size() < 2) return false;
  std::string word;
  for (char c : line.words[0].text)
    if (std::isalpha(static_cast<unsigned char>(c)) != 0)
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (std::find(names.begin(), names.end(), word) == names.end()) return false;
  const std::string& number = line.words[1].text;
  if (!is_digit(number[0]) && !(number.size() <= 4 && std::isupper(static_cast<unsigned char>(number[0])) != 0))
    return false;
  // "Figure 3 shows": a sentence. A caption's number ends with a mark, or a capital or nothing follows.
  if (line.words.size() == 2 || !is_digit(number.back())) return true;
  const char next = line.words[2].text[0];
  return std::islower(static_cast<unsigned char>(next)) == 0;
}

bool begins_footnote(const Line& line) {
  const std::string& word = line.words[0].text;
  size_t digits = 0;
  while (digits < word.size() && is_digit(word[digits])) ++digits;
  if (digits > 0) return digits <= 3;
  for (std::string_view mark : {"*", "\u2020", "\u2021", "\u00A7"})
    if (word.rfind(mark, 0) == 0) return true;
  return false;
}

// More symbols than words, as displayed mathematics has.
bool is_formula(const Line& line) {
  size_t symbols = 0, words = 0, operators = 0;
  for (const Word& word : line.words) {
    size_t letters = 0;
    for (unsigned char c : word.text) letters += std::isalpha(c) != 0 ? 1 : 0;
    if (letters == word.text.size() && letters >= 3)
      ++words;
    else
      ++symbols;
    for (std::string_view mark : {"=", "\u2264", "\u2265", "\u2211", "\u222B", "\u2208", "\u2192", "\u221A", "\u2248"})
      operators += word.text.find(mark) != std::string::npos ? 1 : 0;
  }
  return operators > 0 && symbols >= 3 && symbols > 2 * words;
}

// Rows of a table: a stretch in one column where most lines have cells, and those without are short.
void mark_tables(const std::vector<Line>& lines, std::vector<BlockKind>& kinds) {
  const auto has_cells = [&](size_t i) {
    const Line& line = lines[i];
    if (line.cells.empty()) return false;
    const std::string& first = line.words[0].text;
    return line.cells.size() > 1 || line.cells[0] > 1 ||
           !(is_bullet(first) || is_enumerator(first) || first.size() <= 4);
  };
  for (size_t begin = 0; begin < lines.size();) {
    size_t end = begin, rows = 0, last_row = begin;
    while (end < lines.size() && lines[end].column == lines[begin].column && kinds[end] == BlockKind::Paragraph) {
      const bool row = has_cells(end);
      if (!row && (bytes_of(lines[end]) > kShortLine || end - last_row > 2 || rows == 0)) break;
      if (row) ++rows, last_row = end;
      ++end;
    }
    if (rows >= kFewestRows && 2 * rows >= last_row + 1 - begin)
      for (size_t i = begin; i <= last_row; ++i) kinds[i] = BlockKind::TableRow;
    begin = std::max(begin + 1, rows > 0 ? last_row + 1 : end);
  }
}

// On a page of contents, lines that end in a number where the others do are entries too, with or without a leader.
void mark_contents(const std::vector<Line>& lines, std::vector<BlockKind>& kinds) {
  std::vector<float> edges;
  for (const Line& line : lines)
    if (is_toc_entry(line)) edges.push_back(line.place.x1);
  if (edges.size() < kFewestEntries ||
      static_cast<float>(edges.size()) < kEntriesShare * static_cast<float>(lines.size()))
    return;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    const bool at_edge =
        std::any_of(edges.begin(), edges.end(), [&](float x) { return std::abs(x - line.place.x1) < 3; });
    const bool numbered = line.words.size() > 1 && is_page_reference(after_leader(line.words.back().text));
    if (is_toc_entry(line) || (at_edge && numbered)) kinds[i] = BlockKind::TocEntry;
  }
}

// From the first small numbered line under which only small lines follow, to the column's end.
void mark_footnotes(const std::vector<Line>& lines, const Setting& setting, std::vector<BlockKind>& kinds) {
  for (size_t end = lines.size(); end > 0;) {
    size_t begin = end, mark = end;
    while (begin > 0 && lines[begin - 1].column == lines[end - 1].column) --begin;
    for (size_t i = end; i > begin; --i) {
      const Line& line = lines[i - 1];
      if (line.size_pt > kFootnoteSmaller * setting.body_size_pt || line.box.y0 < kFootnotesBelow ||
          kinds[i - 1] != BlockKind::Paragraph)
        break;
      if (begins_footnote(line)) mark = i - 1;
    }
    for (size_t i = mark; i < end; ++i) kinds[i] = BlockKind::Footnote;
    end = begin;
  }
}

}  // namespace

bool is_bullet(const std::string& word) {
  static const char* const marks[] = {"\u2022", "\u25CF", "\u25AA", "\u25E6", "\u2023", "\u2013", "\u2014", "-",
                                      "*",      "\u00B7", "\u25A0", "\u27A2", "\u25CB", "\u25BA", "\u2713"};
  // Private use areas: symbol fonts put their bullets there.
  const bool symbol =
      word.size() == 3 && (word[0] == '\xEE' || (word[0] == '\xEF' && static_cast<unsigned char>(word[1]) <= 0xA3));
  return symbol || std::any_of(std::begin(marks), std::end(marks), [&](const char* mark) { return word == mark; });
}

bool is_enumerator(const std::string& word) {
  const size_t begin = word.size() > 1 && word[0] == '(' ? 1 : 0;
  const size_t end = word.size() - 1;
  if (word.size() < 2 || (word[end] != ')' && word[end] != '.') || end <= begin || end - begin > 4) return false;
  const std::string_view mark(word.data() + begin, end - begin);
  const auto all = [&](auto&& is) { return std::all_of(mark.begin(), mark.end(), is); };
  if (all(is_digit)) return mark.size() <= 3;
  if (word[end] != ')') return false;
  return mark.size() == 1 ? std::isalpha(static_cast<unsigned char>(mark[0])) != 0
                          : all([](char c) { return std::string_view("ivxl").find(c) != std::string_view::npos; });
}

std::vector<BlockKind> kinds_of(const std::vector<Line>& lines, const Setting& setting) {
  std::vector<BlockKind> kinds(lines.size(), BlockKind::Paragraph);
  mark_contents(lines, kinds);
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    if (kinds[i] != BlockKind::Paragraph) continue;
    if (line.fixed_pitch && !setting.fixed_pitch)
      kinds[i] = BlockKind::Code;
    else if (begins_caption(line))
      kinds[i] = BlockKind::Caption;
    else if (is_formula(line))
      kinds[i] = BlockKind::Formula;
  }
  mark_tables(lines, kinds);
  mark_footnotes(lines, setting, kinds);
  for (size_t i = 0; i < lines.size(); ++i)
    if (kinds[i] == BlockKind::Paragraph && lines[i].words.size() > 1 &&
        (is_bullet(lines[i].words[0].text) || is_enumerator(lines[i].words[0].text)))
      kinds[i] = BlockKind::ListItem;
  return kinds;
}

}  // namespace longleaf
