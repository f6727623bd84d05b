#include "ingest/structure/headings.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "ingest/structure/contents.h"
#include "ingest/structure/numbering.h"
#include "ingest/structure/type_headings.h"

namespace longleaf {
namespace {

constexpr size_t kMaxHeadingBytes = 200;
constexpr float kFrontMatter = 0.25f;  // of a document, at most

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

}  // namespace

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

namespace {

// Named headings are sure. Headings by type fill what the names leave out: the same type as named ones stands at their
// level, or under them where most of that type is not named; other types stand deeper.
std::vector<Heading> merged(const std::vector<Block>& blocks, std::vector<Heading> named,
                            const std::vector<Heading>& typed) {
  std::set<int> taken;
  std::map<TypeKey, std::map<int, int>> levels;  // named headings of a type, by level
  std::map<TypeKey, int> unnamed;
  int deepest = 1;
  for (const Heading& h : named) {
    taken.insert(h.block);
    deepest = std::max(deepest, h.level);
    if (h.is_block) ++levels[type_key(blocks[static_cast<size_t>(h.block)])][h.level];
  }
  // What stands in front of the first named heading is front matter, unless the names begin late.
  const bool late = named.front().block > kFrontMatter * static_cast<float>(blocks.size());
  const int first = late ? 0 : named.front().block;
  for (const Heading& h : typed)
    if (h.block > first && taken.count(h.block) == 0) ++unnamed[type_key(blocks[static_cast<size_t>(h.block)])];
  std::vector<Heading> more;
  std::vector<int> open;  // levels of typed headings since the last named one
  size_t next = 0;
  for (const Heading& h : typed) {
    for (; next < named.size() && named[next].block <= h.block; ++next) open.clear();
    if (taken.count(h.block) != 0 || (h.block < first && !names_contents(h.title))) continue;
    while (!open.empty() && open.back() >= h.level) open.pop_back();
    open.push_back(h.level);
    Heading heading = h;
    heading.level = deepest + static_cast<int>(open.size());
    const TypeKey key = type_key(blocks[static_cast<size_t>(h.block)]);
    if (h.block < first) {
      heading.level = 1;
    } else if (const auto known = levels.find(key); known != levels.end()) {
      int most = 0, count = 0, all = 0;
      for (const auto& [level, n] : known->second) {
        all += n;
        if (n > count) count = n, most = level;
      }
      if (all >= unnamed[key]) heading.level = most;
    }
    more.push_back(std::move(heading));
  }
  named.insert(named.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  std::stable_sort(named.begin(), named.end(), [](const auto& x, const auto& y) { return x.block < y.block; });
  return named;
}

}  // namespace

std::vector<Heading> find_headings(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline) {
  auto named = headings_from_outline(blocks, outline);
  if (named.empty()) named = headings_from_contents(blocks);
  auto typed = headings_from_type(blocks);
  return named.empty() ? typed : merged(blocks, std::move(named), typed);
}

}  // namespace longleaf
