#include "ingest/structure/sentences.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

namespace longleaf {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

// The word that ends at `stop`, without the stop itself.
std::string word_before(std::string_view text, size_t stop) {
  size_t begin = stop;
  while (begin > 0 && !is_space(text[begin - 1]) && text[begin - 1] != '(') --begin;
  std::string word;
  for (char c : text.substr(begin, stop - begin))
    word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

bool is_abbreviation(std::string_view text, size_t stop) {
  static constexpr std::array<std::string_view, 32> known = {
      "mr",  "mrs", "ms",  "dr",  "prof", "sr", "jr", "st",  "vs",  "etc", "e.g", "i.e", "cf", "fig",  "figs",   "eq",
      "eqs", "no",  "nos", "vol", "pp",   "p",  "ch", "sec", "art", "al",  "inc", "ltd", "co", "corp", "approx", "u.s"};
  const std::string word = word_before(text, stop);
  if (word.size() == 1 && std::isalpha(static_cast<unsigned char>(word[0])) != 0) return true;
  return std::find(known.begin(), known.end(), word) != known.end();
}

// Length of the sentence-ending mark at `at`, 0 when there is none: . ! ? and the CJK full stops.
size_t mark_length(std::string_view text, size_t at) {
  if (text[at] == '.' || text[at] == '!' || text[at] == '?') return 1;
  for (std::string_view mark : {"\u3002", "\uFF01", "\uFF1F"})
    if (text.compare(at, mark.size(), mark) == 0) return mark.size();
  return 0;
}

size_t skip_closers(std::string_view text, size_t at) {
  static constexpr std::array<std::string_view, 6> closers = {"\"", "'", ")", "]", "\u201D", "\u2019"};
  for (bool again = true; again;) {
    again = false;
    for (auto closer : closers)
      if (text.compare(at, closer.size(), closer) == 0) at += closer.size(), again = true;
  }
  return at;
}

}  // namespace

std::vector<Range> sentences(std::string_view text) {
  std::vector<Range> out;
  size_t begin = 0;
  const auto close = [&](size_t end) {
    size_t first = begin, last = end;
    while (first < last && is_space(text[first])) ++first;
    while (last > first && is_space(text[last - 1])) --last;
    if (last > first) out.push_back({first, last});
    begin = end;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t mark = mark_length(text, at);
    if (mark == 0) {
      ++at;
      continue;
    }
    const size_t end = skip_closers(text, at + mark);
    const bool wide = mark > 1;
    const bool before_space = end == text.size() || is_space(text[end]);
    size_t next = end;
    while (next < text.size() && is_space(text[next])) ++next;
    const bool goes_on = next < text.size() && std::islower(static_cast<unsigned char>(text[next])) != 0;
    if (wide || (before_space && !goes_on && !(text[at] == '.' && is_abbreviation(text, at)))) close(end);
    at = end;
  }
  close(text.size());
  return out;
}

}  // namespace longleaf
