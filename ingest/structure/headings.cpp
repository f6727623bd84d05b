#include "ingest/structure/headings.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <optional>

namespace longleaf {
namespace {

constexpr size_t kMaxHeadingBytes = 200;
constexpr int kMaxHeadingLines = 3;
constexpr float kLarger = 1.08f;  // than body text, to be a heading by size
constexpr int kMaxSizes = 4;      // levels told apart by size; smaller ones share the last

// Outline titles often lack the number the page has, or have one the page lacks.
bool same_title(const std::string& title, const std::string& text) {
  if (title.empty() || text.empty()) return false;
  if (text == title) return true;
  const std::string& longer = title.size() > text.size() ? title : text;
  const std::string& shorter = title.size() > text.size() ? text : title;
  return shorter.size() >= 4 && longer.size() <= shorter.size() + 12 && longer.find(shorter) != std::string::npos;
}

struct PageBlocks {
  int begin, end;
};

std::map<int, PageBlocks> by_page(const std::vector<Block>& blocks) {
  std::map<int, PageBlocks> pages;
  for (int i = 0; i < static_cast<int>(blocks.size()); ++i) {
    auto [it, inserted] = pages.try_emplace(blocks[static_cast<size_t>(i)].page, PageBlocks{i, i});
    it->second.end = i + 1;
  }
  return pages;
}

// Depth of "1", "1.2", "1.2.3" or "A.1" at the head of a text; 0 when there is none.
int numbering_depth(const std::string& text) {
  size_t i = 0;
  int depth = 0;
  const auto digit = [&](size_t at) {
    return at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0;
  };
  if (text.size() > 2 && std::isupper(static_cast<unsigned char>(text[0])) != 0 && text[1] == '.' && digit(2))
    depth = 1, i = 2;
  while (digit(i)) {
    size_t end = i;
    while (digit(end)) ++end;
    if (end - i > 3) return 0;
    ++depth;
    i = end;
    if (i < text.size() && text[i] == '.') ++i;
  }
  if (depth == 0 || i >= text.size() || text[i] != ' ') return 0;
  while (i < text.size() && text[i] == ' ') ++i;
  return i < text.size() && (std::isupper(static_cast<unsigned char>(text[i])) != 0 || (text[i] & 0x80) != 0) ? depth
                                                                                                              : 0;
}

bool has_letters(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](unsigned char c) { return std::isalpha(c) != 0 || c >= 0x80; }) >=
         3;
}

// A sentence or a leader line of a table of contents.
bool reads_like_text(const std::string& text) {
  const char last = text.back();
  return last == ',' || last == ';' || last == ':' || (last == '.' && text.size() > 60) ||
         text.find(". . .") != std::string::npos || text.find("....") != std::string::npos;
}

struct Body {
  float size_pt = 0;
  bool bold = false;
};

Body body_of(const std::vector<Block>& blocks) {
  std::map<std::pair<float, bool>, size_t> weight;
  for (const Block& block : blocks) weight[{std::round(block.size_pt * 2) / 2, block.bold}] += block.text.size();
  Body body;
  size_t most = 0;
  for (const auto& [style, n] : weight)
    if (n > most) most = n, body = {style.first, style.second};
  return body;
}

struct Candidate {
  int block;
  float size_pt;  // rounded; bold counts as a quarter point more, so that bold body-size headings rank last
  int depth;
};

std::optional<Candidate> candidate(const Block& block, int index, const Body& body) {
  if (block.text.size() > kMaxHeadingBytes || block.text.size() < 3 || block.n_lines > kMaxHeadingLines)
    return std::nullopt;
  if (!has_letters(block.text) || reads_like_text(block.text)) return std::nullopt;
  const bool larger = block.size_pt >= body.size_pt * kLarger;
  const bool heavier = block.bold && !body.bold && block.size_pt >= body.size_pt * 0.95f;
  const int depth = numbering_depth(block.text);
  if (block.kind == BlockKind::ListItem && depth == 0) return std::nullopt;
  if (!larger && !heavier) return std::nullopt;
  return Candidate{index, std::round(block.size_pt * 2) / 2 + (block.bold ? 0.25f : 0.0f), depth};
}

}  // namespace

std::string folded(std::string_view text) {
  std::string out;
  for (unsigned char c : text)
    if (std::isalnum(c) != 0 || c >= 0x80) out += static_cast<char>(std::tolower(c));
  return out;
}

std::vector<Heading> headings_from_outline(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline) {
  const auto pages = by_page(blocks);
  std::vector<Heading> headings;
  int from = 0;  // an outline is in reading order: a heading never stands before the last one
  for (const OutlineEntry& entry : outline) {
    const auto page = pages.find(entry.page);
    if (entry.page < 0 || entry.title.empty() || page == pages.end()) continue;
    const std::string title = folded(entry.title);
    Heading heading{-1, entry.level + 1, entry.title, false};
    for (int i = std::max(from, page->second.begin); i < page->second.end && heading.block < 0; ++i) {
      const Block& block = blocks[static_cast<size_t>(i)];
      if (block.text.size() <= kMaxHeadingBytes && same_title(title, folded(block.text)))
        heading.block = i, heading.is_block = true;
    }
    for (int i = std::max(from, page->second.begin); i < page->second.end && heading.block < 0; ++i)
      if (blocks[static_cast<size_t>(i)].box.y1 > entry.top) heading.block = i;
    if (heading.block < 0) heading.block = std::max(from, page->second.begin);
    if (heading.block >= static_cast<int>(blocks.size())) continue;
    from = heading.is_block ? heading.block + 1 : heading.block;
    headings.push_back(std::move(heading));
  }
  if (headings.size() < 2) headings.clear();
  return headings;
}

std::vector<Heading> headings_from_type(const std::vector<Block>& blocks) {
  const Body body = body_of(blocks);
  std::vector<Candidate> candidates;
  for (size_t i = 0; i < blocks.size(); ++i)
    if (auto found = candidate(blocks[i], static_cast<int>(i), body)) candidates.push_back(*found);
  // More headings than every second block: the document has no body to stand out from.
  if (candidates.size() * 2 > blocks.size()) return {};
  std::vector<float> sizes;
  for (const auto& c : candidates) sizes.push_back(c.size_pt);
  std::sort(sizes.rbegin(), sizes.rend());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  std::vector<Heading> headings;
  for (const auto& c : candidates) {
    const auto rank = std::find(sizes.begin(), sizes.end(), c.size_pt) - sizes.begin();
    const int by_size = std::min<int>(static_cast<int>(rank), kMaxSizes - 1) + 1;
    headings.push_back({c.block, c.depth > 0 ? c.depth : by_size, blocks[static_cast<size_t>(c.block)].text, true});
  }
  return headings;
}

}  // namespace longleaf
