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
constexpr size_t kTellingKey = 6;      // bytes of a title that is looked for on every page
constexpr size_t kFewestCounted = 4;   // entries that only a number tells apart
constexpr float kFrontMatter = 0.25f;  // of a document, at most

// Outline titles often lack the number the page has, or have one the page lacks.
bool same_title(const std::string& title, const std::string& text) {
  if (title.empty() || text.empty()) return false;
  if (text == title) return true;
  const std::string& longer = title.size() > text.size() ? title : text;
  const std::string& shorter = title.size() > text.size() ? text : title;
  return shorter.size() >= 4 && longer.size() <= shorter.size() + 12 && longer.find(shorter) != std::string::npos;
}

// Blocks by page and by title.
class Places {
 public:
  explicit Places(const std::vector<Block>& blocks) {
    for (int i = 0; i < static_cast<int>(blocks.size()); ++i) {
      const Block& block = blocks[static_cast<size_t>(i)];
      const auto page = static_cast<size_t>(block.page);
      if (first_.size() <= page) first_.resize(page + 1, i);
      const bool may_be_title = block.text.size() <= kMaxHeadingBytes && block.kind != BlockKind::TocEntry;
      titles_.push_back(may_be_title ? folded(block.text) : std::string());
      if (may_be_title) ++keys_.try_emplace(title_key(block.text), std::pair{0, i}).first->second.first;
    }
  }

  int begin_of(int page) const {
    return page < 0 ? 0 : page < pages() ? first_[static_cast<size_t>(page)] : static_cast<int>(titles_.size());
  }
  int pages() const { return static_cast<int>(first_.size()); }

  // The block with the title on the page; on the nearest of its neighbours; anywhere, if there is but one. -1: nowhere.
  int find(const std::string& title, int page) const {
    const std::string wanted = folded(title);
    if (page >= 0)
      for (const int off : {0, 1, -1, 2, -2})
        for (int i = begin_of(page + off); i < begin_of(page + off + 1); ++i)
          if (same_title(wanted, titles_[static_cast<size_t>(i)])) return i;
    const auto found = keys_.find(title_key(title));
    return found != keys_.end() && found->second.first == 1 && found->first.size() >= kTellingKey ? found->second.second
                                                                                                  : -1;
  }

 private:
  std::vector<int> first_;  // block of each page
  std::vector<std::string> titles_;
  std::map<std::string, std::pair<int, int>> keys_;  // how often, first where
};

// "Page 1", "Page 2" or "scan0001", "scan0002": what a machine wrote says nothing.
bool is_made_by_machine(const std::vector<OutlineEntry>& outline) {
  std::map<std::string, size_t> kinds;
  for (const OutlineEntry& entry : outline) {
    std::string kind = folded(entry.title);
    const bool counted = std::erase_if(kind, [](unsigned char c) { return std::isdigit(c) != 0; }) > 0;
    if (counted && without_numbering(entry.title) == entry.title) ++kinds[kind];
  }
  return std::any_of(kinds.begin(), kinds.end(), [&](const auto& kind) {
    return kind.second >= kFewestCounted && kind.second * 5 >= outline.size() * 4;
  });
}

// Which of `places` (-1: none) stand in order: a longest strictly rising run, so that few wrong targets cost little.
std::vector<bool> in_order(const std::vector<int>& places) {
  std::vector<size_t> tails, before(places.size(), SIZE_MAX);
  for (size_t i = 0; i < places.size(); ++i) {
    if (places[i] < 0) continue;
    const auto at = std::lower_bound(tails.begin(), tails.end(), places[i],
                                     [&](size_t tail, int place) { return places[tail] < place; });
    if (at != tails.begin()) before[i] = *(at - 1);
    if (at == tails.end())
      tails.push_back(i);
    else
      *at = i;
  }
  std::vector<bool> kept(places.size(), false);
  for (size_t i = tails.empty() ? SIZE_MAX : tails.back(); i != SIZE_MAX; i = before[i]) kept[i] = true;
  return kept;
}

}  // namespace

std::vector<Heading> headings_from_outline(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline) {
  const Places places(blocks);
  std::vector<int> matched;
  bool any = false;
  for (const OutlineEntry& entry : outline) {
    matched.push_back(entry.title.empty() ? -1 : places.find(entry.title, entry.page));
    any |= matched.back() >= 0;
  }
  if (!any && is_made_by_machine(outline)) return {};
  const auto kept = in_order(matched);
  std::vector<int> next_match(outline.size() + 1, static_cast<int>(blocks.size()) - 1);
  for (size_t i = outline.size(); i-- > 0;) next_match[i] = kept[i] ? matched[i] : next_match[i + 1];
  std::vector<Heading> headings;
  int from = 0;
  for (size_t i = 0; i < outline.size(); ++i) {
    const OutlineEntry& entry = outline[i];
    Heading heading{matched[i], entry.level + 1, entry.title, kept[i]};
    if (!kept[i]) {
      // Not printed, or printed out of order: where the target points, between its neighbours.
      if (entry.title.empty() || entry.page < 0 || entry.page >= places.pages() || from > next_match[i]) continue;
      heading.block = places.begin_of(entry.page);
      const int end = places.begin_of(entry.page + 1);
      while (heading.block + 1 < end && blocks[static_cast<size_t>(heading.block)].box.y1 <= entry.top) ++heading.block;
      heading.block = std::clamp(heading.block, from, next_match[i]);
    }
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

// An outline most of whose titles are printed nowhere, as names of the files a book was made of, tells places at best:
// where a heading stands there, it has that one's text.
void take_printed_titles(std::vector<Heading>& named, const std::vector<Heading>& typed) {
  const auto is_printed = [](const Heading& h) { return h.is_block; };
  if (2 * std::count_if(named.begin(), named.end(), is_printed) >= static_cast<long>(named.size())) return;
  for (Heading& heading : named) {
    const auto there =
        std::find_if(typed.begin(), typed.end(), [&](const Heading& t) { return t.block == heading.block; });
    if (!heading.is_block && there != typed.end()) heading.title = there->title, heading.is_block = true;
  }
}

}  // namespace

std::vector<Heading> find_headings(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline) {
  auto named = headings_from_outline(blocks, outline);
  if (named.empty()) named = headings_from_contents(blocks);
  auto typed = headings_from_type(blocks);
  take_printed_titles(named, typed);
  return named.empty() ? typed : merged(blocks, std::move(named), typed);
}

}  // namespace longleaf
