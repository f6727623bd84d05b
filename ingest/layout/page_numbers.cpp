#include "ingest/layout/page_numbers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>
#include <optional>
#include <set>
#include <string_view>

namespace longleaf {
namespace {

constexpr float kEdge = 0.12f;  // share of the page's height where numbers stand
constexpr int kReach = 3;       // pages to both sides that must count alike
constexpr int kFewestAlike = 2;
constexpr int kLongestGap = 8;  // pages without a number between two that count alike
constexpr size_t kMostDigits = 4, kMostRoman = 8;

constexpr std::array<std::pair<int, std::string_view>, 9> kRoman = {
    {{100, "c"}, {90, "xc"}, {50, "l"}, {40, "xl"}, {10, "x"}, {9, "ix"}, {5, "v"}, {4, "iv"}, {1, "i"}}};

std::string roman(int number) {
  std::string text;
  for (const auto& [value, letters] : kRoman)
    for (; number >= value; number -= value) text += letters;
  return text;
}

std::optional<int> number_of_roman(const std::string& text) {
  if (text.size() > kMostRoman || text.find_first_not_of("ivxlc") != std::string::npos) return std::nullopt;
  for (int number = 1; number < 200; ++number)
    if (roman(number) == text) return number;
  return std::nullopt;
}

}  // namespace

void PageNumbers::read(const std::string& word, int page, std::vector<Counting>& out) {
  // Without dashes and brackets around it; "3-12" is no number.
  const auto is_part = [](unsigned char c) { return std::isalnum(c) != 0 || c >= 0x80; };
  const auto begin = std::find_if(word.begin(), word.end(), is_part);
  const std::string bare(begin, std::find_if(word.rbegin(), std::make_reverse_iterator(begin), is_part).base());
  if (bare.empty()) return;
  const bool digits = std::all_of(bare.begin(), bare.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  if (digits && bare.size() <= kMostDigits) out.push_back({false, std::stoi(bare) - page});
  if (!digits && bare == word)
    if (const auto number = number_of_roman(bare)) out.push_back({true, *number - page});
}

void PageNumbers::learn(const std::vector<Line>& lines) {
  const int page = static_cast<int>(pages_.size());
  auto& found = pages_.emplace_back();
  for (const Line& line : lines) {
    if (line.box.y1 >= kEdge && line.box.y0 <= 1 - kEdge) continue;
    // "12", "- 12 -", "Page 12", or at either end of a running head.
    for (size_t w = 0; w < line.words.size(); ++w)
      if (line.words.size() <= 3 || w == 0 || w + 1 == line.words.size()) read(line.words[w].text, page, found);
  }
}

bool PageNumbers::bears(int page, const Counting& counting) const {
  if (page < 0 || page >= static_cast<int>(pages_.size())) return false;
  const auto& all = pages_[static_cast<size_t>(page)];
  return std::find(all.begin(), all.end(), counting) != all.end();
}

std::vector<std::string> PageNumbers::labels() const {
  const int n = static_cast<int>(pages_.size());
  std::vector<std::optional<Counting>> counting(pages_.size());
  for (int page = 0; page < n; ++page) {
    int most = kFewestAlike - 1;
    for (const Counting& candidate : pages_[static_cast<size_t>(page)]) {
      int alike = 0;
      for (int other = page - kReach; other <= page + kReach; ++other)
        alike += other != page && bears(other, candidate) ? 1 : 0;
      if (alike > most) most = alike, counting[static_cast<size_t>(page)] = candidate;
    }
  }
  // Pages that open a chapter often bear no number.
  for (int page = 0, last = -1; page < n; ++page) {
    const auto& here = counting[static_cast<size_t>(page)];
    if (!here) continue;
    if (last >= 0 && page - last <= kLongestGap && counting[static_cast<size_t>(last)] == here)
      std::fill(counting.begin() + last, counting.begin() + page, here);
    last = page;
  }
  std::vector<std::string> labels;
  std::set<std::string> seen;
  int numbered = 0, as_counted = 0;
  for (int page = 0; page < n; ++page) {
    const auto& here = counting[static_cast<size_t>(page)];
    const int number = here ? page + here->shift : 0;
    if (number <= 0) {
      labels.push_back("[" + std::to_string(page + 1) + "]");
      continue;
    }
    labels.push_back(here->is_roman ? roman(number) : std::to_string(number));
    ++numbered, as_counted += labels.back() == std::to_string(page + 1) ? 1 : 0;
    if (!seen.insert(labels.back()).second) return {};
  }
  if (2 * numbered < n || as_counted == numbered) return {};
  return labels;
}

}  // namespace longleaf
