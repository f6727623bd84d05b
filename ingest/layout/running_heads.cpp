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

struct Place {
  int page;
  float y;
};

}  // namespace

int remove_running_heads(std::vector<std::vector<Line>>& pages) {
  std::map<std::string, std::vector<Place>> places;
  for (size_t p = 0; p < pages.size(); ++p)
    for (const Line& line : pages[p])
      if (at_edge(line))
        places[is_page_number(line) ? "#page" : shape_of(line)].push_back({static_cast<int>(p), line.box.y0});

  const auto is_running = [&](int page, const Line& line) {
    if (!at_edge(line)) return false;
    const bool number = is_page_number(line);
    const std::string shape = number ? "#page" : shape_of(line);
    if (shape.size() > kMaxLength) return false;
    const auto& all = places[shape];
    const auto begin =
        std::lower_bound(all.begin(), all.end(), page - kReach, [](const Place& a, int b) { return a.page < b; });
    int copies = 0;
    for (auto it = begin; it != all.end() && it->page <= page + kReach; ++it)
      copies += it->page != page && std::abs(it->y - line.box.y0) < kSamePlace ? 1 : 0;
    return copies >= kCopies;
  };
  int removed = 0;
  std::vector<std::vector<bool>> running(pages.size());
  for (size_t p = 0; p < pages.size(); ++p)
    for (const Line& line : pages[p]) running[p].push_back(is_running(static_cast<int>(p), line));
  for (size_t p = 0; p < pages.size(); ++p) {
    std::vector<Line> kept;
    for (size_t i = 0; i < pages[p].size(); ++i) {
      if (running[p][i])
        ++removed;
      else
        kept.push_back(std::move(pages[p][i]));
    }
    pages[p] = std::move(kept);
  }
  return removed;
}

}  // namespace longleaf
