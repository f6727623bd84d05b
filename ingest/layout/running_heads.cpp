#include "ingest/layout/running_heads.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <string>

namespace longleaf {
namespace {

constexpr float kEdge = 0.12f;  // share of the page's height at top and bottom where running heads stand
constexpr int kReach = 8;       // pages to both sides where a copy counts: heads change from chapter to chapter
constexpr int kCopies = 2;      // other pages that must carry a copy
constexpr float kSamePlace = 0.012f;
constexpr size_t kMaxLength = 160;

// The line with every number replaced, so that "Page 12" and "Page 13" are copies.
std::string shape_of(const Line& line) {
  std::string shape;
  for (const Word& word : line.words) {
    if (word.text.find_first_not_of("ivxlc") == std::string::npos) {
      shape += "# ";
      continue;
    }
    for (unsigned char c : word.text) {
      if (std::isdigit(c) == 0)
        shape += static_cast<char>(std::tolower(c));
      else if (shape.empty() || shape.back() != '#')
        shape += '#';
    }
    shape += ' ';
  }
  return shape;
}

// A number standing alone: "12", "- 12 -", "xiv".
bool is_page_number(const Line& line) {
  if (line.words.size() > 3) return false;
  size_t digits = 0, roman = 0, other = 0;
  for (const Word& word : line.words) {
    for (unsigned char c : word.text) {
      if (std::isdigit(c) != 0)
        ++digits;
      else if (std::string("ivxlc").find(static_cast<char>(std::tolower(c))) != std::string::npos)
        ++roman;
      else if (std::isalpha(c) != 0)
        ++other;
    }
  }
  return other == 0 && ((digits > 0 && digits <= 4 && roman == 0) || (digits == 0 && roman > 0 && roman < 7));
}

bool at_edge(const Line& line) { return line.box.y1 < kEdge || line.box.y0 > 1 - kEdge; }

std::string key_of(const Line& line) { return is_page_number(line) ? "#page" : shape_of(line); }

}  // namespace

void RunningHeads::learn(int page, const std::vector<Line>& lines) {
  for (const Line& line : lines)
    if (at_edge(line)) places_[key_of(line)].push_back({page, line.box.y0});
}

bool RunningHeads::is_running(int page, const Line& line) const {
  if (!at_edge(line)) return false;
  const std::string key = key_of(line);
  const auto known = places_.find(key);
  if (key.size() > kMaxLength || known == places_.end()) return false;
  const auto& all = known->second;
  const auto begin =
      std::lower_bound(all.begin(), all.end(), page - kReach, [](const Place& a, int b) { return a.page < b; });
  int copies = 0;
  for (auto it = begin; it != all.end() && it->page <= page + kReach; ++it)
    copies += it->page != page && std::abs(it->y - line.box.y0) < kSamePlace ? 1 : 0;
  return copies >= kCopies;
}

void RunningHeads::remove_from(int page, std::vector<Line>& lines) const {
  std::erase_if(lines, [&](const Line& line) { return is_running(page, line); });
}

}  // namespace longleaf
