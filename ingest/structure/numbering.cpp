#include "ingest/structure/numbering.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace longleaf {
namespace {

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_upper(char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; }
bool is_lower(char c) { return std::islower(static_cast<unsigned char>(c)) != 0; }
bool is_mark(char c) { return c == '.' || c == ':' || c == ')'; }

size_t skip_spaces(std::string_view text, size_t at) {
  while (at < text.size() && text[at] == ' ') ++at;
  return at;
}

bool is_roman(std::string_view word) {
  return !word.empty() && word.size() <= 7 && std::all_of(word.begin(), word.end(), [](char c) {
    return std::string_view("IVXL").find(c) != std::string_view::npos;
  });
}

// What follows the number: marks, spaces and a dash. 0 when nothing separates it from the title.
size_t title_after(std::string_view text, size_t at) {
  const size_t begin = at;
  while (at < text.size() && is_mark(text[at])) ++at;
  at = skip_spaces(text, at);
  for (std::string_view dash : {"\u2014", "\u2013", "-", "\u00B7", "|"})
    if (text.substr(at, dash.size()) == dash) at = skip_spaces(text, at + dash.size());
  return at > begin && at < text.size() ? at : 0;
}

Numbering decimal(std::string_view text, size_t at) {
  Numbering number{NumberKind::Decimal, 0, {}, 0};
  // "A.1" counts in an appendix.
  if (at + 2 < text.size() && is_upper(text[at]) && text[at + 1] == '.' && is_digit(text[at + 2]))
    ++number.depth, at += 2;
  while (at < text.size() && is_digit(text[at])) {
    size_t end = at;
    while (end < text.size() && is_digit(text[end])) ++end;
    if (end - at > 3) return {};
    ++number.depth;
    at = end;
    if (at + 1 < text.size() && text[at] == '.' && is_digit(text[at + 1]))
      ++at;
    else
      break;
  }
  number.length = number.depth == 0 ? 0 : title_after(text, at);
  if (number.length == 0) return {};
  const bool bracket = at < text.size() && text[at] == ')';
  if (bracket) number.kind = NumberKind::InBrackets, number.depth = 0;
  return number;
}

Numbering lettered(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])) != 0) ++end;
  if (end == 0 || end > 7 || end >= text.size() || !is_mark(text[end])) return {};
  const std::string_view word = text.substr(0, end);
  const size_t length = title_after(text, end);
  if (length == 0) return {};
  if (text[end] == ')')
    return end <= 4 && (end == 1 || is_lower(word[0])) ? Numbering{NumberKind::InBrackets, 0, {}, length} : Numbering{};
  if (is_roman(word) && word != "L") return {NumberKind::Roman, 0, {}, length};
  if (word.size() != 1) return {};
  return {is_upper(word[0]) ? NumberKind::UpperLetter : NumberKind::LowerLetter, 0, {}, length};
}

Numbering bracketed(std::string_view text) {
  const size_t close = text.substr(0, 7).find(')');
  if (text.empty() || text[0] != '(' || close == std::string_view::npos || close < 2) return {};
  const size_t length = title_after(text, close);
  return length == 0 ? Numbering{} : Numbering{NumberKind::InBrackets, 0, {}, length};
}

Numbering named(std::string_view text) {
  static constexpr std::array<std::string_view, 18> names = {
      "book",    "volume", "letter",  "canto", "chapter", "part",     "section", "appendix", "annex",
      "article", "item",   "kapitel", "teil",  "anhang",  "chapitre", "partie",  "unit",     "note"};
  size_t end = 0;
  std::string name;
  while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])) != 0)
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(text[end++])));
  if (std::find(names.begin(), names.end(), name) == names.end() || !(end < text.size() && text[end] == ' ')) return {};
  const size_t begin = skip_spaces(text, end);
  end = begin;
  while (end < text.size() && (is_digit(text[end]) || is_upper(text[end]) ||
                               (text[end] == '.' && end + 1 < text.size() && is_digit(text[end + 1]))))
    ++end;
  const std::string_view number = text.substr(begin, end - begin);
  // "ITEM 1A", "Part IV", "Appendix B" – not "PART OF".
  const bool counts = !number.empty() && (is_digit(number[0]) || is_roman(number) || number.size() == 1);
  if (!counts || number.size() > 8) return {};
  const size_t length = title_after(text, end);
  return {NumberKind::Named, 0, std::move(name), length == 0 ? text.size() : length};
}

}  // namespace

Numbering numbering_of(std::string_view text) {
  text.remove_prefix(skip_spaces(text, 0));
  if (text.empty()) return {};
  if (auto found = named(text); found.kind != NumberKind::None) return found;
  if (text[0] == '(') return bracketed(text);
  if (text.rfind("\u00A7", 0) == 0) {
    auto found = decimal(text, skip_spaces(text, 2));
    return found;
  }
  if (auto found = decimal(text, 0); found.kind != NumberKind::None) return found;
  return lettered(text);
}

std::string without_numbering(const std::string& text) {
  const size_t begin = skip_spaces(text, 0);
  const Numbering number = numbering_of(text);
  if (number.kind == NumberKind::None || begin + number.length >= text.size()) return text;
  std::string title = text.substr(begin + number.length);
  return folded(title).empty() ? text : title;
}

std::string folded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // U+2000 to U+207F: dashes, quotation marks and the like.
    if (c == 0xE2 && i + 2 < text.size() && (text[i + 1] == '\x80' || text[i + 1] == '\x81')) {
      i += 2;
      continue;
    }
    if (std::isalnum(c) != 0 || c >= 0x80) out += static_cast<char>(std::tolower(c));
  }
  return out;
}

std::string title_key(const std::string& title) { return folded(without_numbering(title)); }

}  // namespace longleaf
