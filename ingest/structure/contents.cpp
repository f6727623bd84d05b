#include "ingest/structure/contents.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "ingest/structure/numbering.h"

namespace longleaf {
namespace {

constexpr float kIndentPt = 5;          // entries of one level begin within this of each other
constexpr float kWrappedShare = 0.55f;  // of the entry's width: a longer line without a page goes on in the next
constexpr size_t kFewestEntries = 4;
constexpr int kMaxApart = 2;  // pages without entries inside one table
constexpr int kMaxLevel = 6;
constexpr size_t kMaxTitle = 250;  // bytes
constexpr int kMaxJoined = 3;      // blocks that make one title
constexpr size_t kLongKey = 8;     // a title this long may differ a little from the entry
constexpr float kAlike = 0.7f;     // share of the longer that the shorter has
constexpr int kPagesOff = 1;

// An entry as it is printed.
struct Raw {
  std::string title, reference;
  int block = 0;
  float left = 0, right = 0, size_pt = 0;
  bool bold = false, capitals = false, has_page = false;
  float width() const { return right - left; }
};

void trim_leader(std::string& text) {
  const auto drop = [&](std::string_view mark) {
    if (text.size() < mark.size() || text.compare(text.size() - mark.size(), mark.size(), mark) != 0) return false;
    text.erase(text.size() - mark.size());
    return true;
  };
  while (drop(".") || drop(" ") || drop("_") || drop("\u2026") || drop("\u00B7") || drop("|")) {
  }
}

Raw raw_of(const std::vector<Block>& blocks, int index) {
  const Block& block = blocks[static_cast<size_t>(index)];
  Raw raw{block.text, {}, index, block.left_pt, block.right_pt, block.size_pt, block.bold, block.capitals, false};
  if (block.kind != BlockKind::TocEntry) return raw;
  raw.has_page = true;
  trim_leader(raw.title);
  size_t begin = raw.title.size();
  while (begin > 0 &&
         (std::isalnum(static_cast<unsigned char>(raw.title[begin - 1])) != 0 || raw.title[begin - 1] == '-'))
    --begin;
  raw.reference = raw.title.substr(begin);
  raw.title.erase(begin);
  trim_leader(raw.title);
  return raw;
}

bool is_same_type(const Raw& a, const Raw& b) { return std::abs(a.size_pt - b.size_pt) < 0.6f && a.bold == b.bold; }

bool names_the_table(const std::string& title) {
  static constexpr std::array<std::string_view, 12> names = {
      "contents", "tableofcontents",  "inhalt", "inhaltsverzeichnis",
      "sommaire", "tabledesmatières", "page",   "pageno",
      "seite",    "índice",           "indice", "目次"};
  return std::find(names.begin(), names.end(), folded(title)) != names.end();
}

// A line between entries that has no page of its own: the beginning of the next entry, or a title of several.
bool is_title_of_several(const Raw& raw, const Raw& next) {
  if (raw.title.size() > 80 || names_the_table(raw.title) || folded(raw.title).size() < 3) return false;
  return (raw.bold && !next.bold) || (raw.capitals && !next.capitals) || raw.size_pt > next.size_pt + 0.6f ||
         raw.left < next.left - kIndentPt;
}

std::vector<Raw> raw_entries(const std::vector<Block>& blocks, int begin, int end) {
  std::vector<Raw> entries;
  for (int i = begin; i < end; ++i) {
    Raw raw = raw_of(blocks, i);
    if (!entries.empty() && !entries.back().has_page) {
      Raw& before = entries.back();
      const bool wrapped = is_same_type(before, raw) && before.width() >= kWrappedShare * (raw.right - before.left);
      if (raw.has_page && (raw.title.empty() || wrapped)) {
        before.title += (raw.title.empty() ? "" : " ") + raw.title;
        before.reference = raw.reference, before.right = raw.right, before.has_page = true;
        continue;
      }
      if (!is_title_of_several(before, raw)) entries.pop_back();
    }
    entries.push_back(std::move(raw));
  }
  if (!entries.empty() && !entries.back().has_page) entries.pop_back();
  return entries;
}

// Smaller is further out. Widths are compared, not left edges: numbers stand flush right in every column and page.
std::vector<int> ranks_of(const std::vector<Raw>& entries) {
  std::vector<float> widths;
  for (const Raw& raw : entries)
    if (raw.has_page) widths.push_back(raw.width());
  std::sort(widths.rbegin(), widths.rend());
  std::vector<float> steps;  // the narrowest of each indentation
  for (float width : widths) {
    if (steps.empty() || steps.back() - width > kIndentPt) steps.push_back(width);
    steps.back() = width;
  }
  std::vector<int> ranks;
  std::vector<int> families;  // in order of appearance
  for (const Raw& raw : entries) {
    const Numbering number = numbering_of(raw.title);
    const int family = static_cast<int>(number.kind) * 4 + (raw.bold ? 2 : 0) + (raw.capitals ? 1 : 0);
    if (!raw.has_page) {
      ranks.push_back(0);
    } else if (steps.size() > 1 && steps.size() <= kMaxLevel + 2) {
      const auto step = std::find_if(steps.begin(), steps.end(), [&](float s) { return raw.width() >= s - 0.01f; });
      ranks.push_back(1 + static_cast<int>(step - steps.begin()));
    } else if (number.kind == NumberKind::Decimal) {
      ranks.push_back(number.depth);
    } else {
      if (std::find(families.begin(), families.end(), family) == families.end()) families.push_back(family);
      ranks.push_back(1 + static_cast<int>(std::find(families.begin(), families.end(), family) - families.begin()));
    }
  }
  return ranks;
}

std::vector<ContentsEntry> entries_of(const std::vector<Block>& blocks, int begin, int end) {
  const auto raws = raw_entries(blocks, begin, end);
  const auto ranks = ranks_of(raws);
  std::vector<ContentsEntry> entries;
  std::vector<int> open;
  for (size_t i = 0; i < raws.size(); ++i) {
    while (!open.empty() && open.back() >= ranks[i]) open.pop_back();
    open.push_back(ranks[i]);
    const std::string& reference = raws[i].reference;
    const bool number =
        !reference.empty() && reference.size() <= 4 &&
        std::all_of(reference.begin(), reference.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (folded(raws[i].title).empty()) continue;
    entries.push_back({raws[i].title, number ? std::atoi(reference.c_str()) : -1,
                       std::min<int>(kMaxLevel, static_cast<int>(open.size())), raws[i].block});
  }
  return entries;
}

bool may_be_title(const Block& block) {
  return block.text.size() <= kMaxTitle && block.kind != BlockKind::TocEntry && block.kind != BlockKind::Footnote &&
         !block.aside;
}

class Finder {
 public:
  explicit Finder(const std::vector<Block>& blocks) : blocks_(blocks) {
    for (int i = 0; i < static_cast<int>(blocks.size()); ++i) {
      const Block& block = blocks[static_cast<size_t>(i)];
      keys_.push_back(may_be_title(block) ? title_key(block.text) : std::string());
      if (!keys_.back().empty()) by_key_[keys_.back()].push_back(i);
      const auto page = static_cast<size_t>(block.page);
      if (first_.size() <= page) first_.resize(page + 1, i);
    }
  }

  std::vector<Heading> find(const std::vector<ContentsEntry>& entries) const {
    const int shift = shift_of(entries);
    std::vector<Heading> found;
    std::vector<int> open;  // levels of the ancestors that were found: a title that is only in the table is no level
    int from = entries.back().block + 1;
    for (size_t i = 0; i < entries.size(); ++i) {
      const ContentsEntry& entry = entries[i];
      int first = from, last = from;
      if (entry.number >= 0 && shift != kNoShift) {
        first = std::max(0, begin_of(entry.number + shift - kPagesOff));
        last = begin_of(entry.number + shift + kPagesOff + 1);
      } else {
        const auto next = std::find_if(entries.begin() + static_cast<long>(i), entries.end(),
                                       [](const auto& e) { return e.number >= 0; });
        last = next == entries.end() || shift == kNoShift ? static_cast<int>(blocks_.size())
                                                          : begin_of(next->number + shift + 1);
      }
      if (auto heading = find_between(entry, std::max(first, entry.block + 1), last)) {
        from = heading->block + 1;
        while (!open.empty() && open.back() >= heading->level) open.pop_back();
        open.push_back(heading->level);
        heading->level = static_cast<int>(open.size());
        found.push_back(std::move(*heading));
      }
    }
    return found;
  }

 private:
  static constexpr int kNoShift = INT32_MIN;

  int begin_of(int page) const {
    if (page < 0) return 0;
    return static_cast<size_t>(page) < first_.size() ? first_[static_cast<size_t>(page)]
                                                     : static_cast<int>(blocks_.size());
  }

  // Counted page minus printed page, as most titles that are found anywhere say.
  int shift_of(const std::vector<ContentsEntry>& entries) const {
    std::map<int, int> votes;
    for (const auto& entry : entries) {
      const auto places = by_key_.find(title_key(entry.title));
      if (entry.number < 0 || places == by_key_.end() || places->second.size() > 20) continue;
      for (int block : places->second)
        if (block > entry.block) ++votes[blocks_[static_cast<size_t>(block)].page - entry.number];
    }
    const auto best =
        std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    return best == votes.end() ? kNoShift : best->first;
  }

  // Exactly, else over several blocks, else nearly. Pages in the middle of the range are looked at first.
  std::optional<Heading> find_between(const ContentsEntry& entry, int first, int last) const {
    const std::string key = title_key(entry.title);
    if (const auto places = by_key_.find(key); places != by_key_.end())
      for (int block : places->second)
        if (block >= first && block < last) return Heading{block, entry.level, text(block), true};
    for (int i = first; i < last; ++i) {
      std::string joined, shown;
      for (int j = i; j < std::min(last, i + kMaxJoined) && !keys_[static_cast<size_t>(j)].empty(); ++j) {
        joined += j == i ? keys_[static_cast<size_t>(j)] : folded(text(j));
        shown += (j == i ? "" : " ") + text(j);
        if (joined == key || folded(shown) == folded(entry.title)) return Heading{i, entry.level, shown, true};
        if (joined.size() >= key.size()) break;
      }
    }
    if (key.size() < kLongKey) return std::nullopt;
    for (int i = first; i < last; ++i) {
      const std::string& other = keys_[static_cast<size_t>(i)];
      const size_t shorter = std::min(other.size(), key.size()), longer = std::max(other.size(), key.size());
      if (static_cast<float>(shorter) < kAlike * static_cast<float>(longer)) continue;
      if (other.find(key) != std::string::npos || key.find(other) != std::string::npos)
        return Heading{i, entry.level, text(i), true};
    }
    return std::nullopt;
  }

  const std::string& text(int block) const { return blocks_[static_cast<size_t>(block)].text; }

  const std::vector<Block>& blocks_;
  std::vector<std::string> keys_;
  std::unordered_map<std::string, std::vector<int>> by_key_;
  std::vector<int> first_;  // block of each page
};

}  // namespace

std::vector<std::vector<ContentsEntry>> read_contents(const std::vector<Block>& blocks) {
  std::vector<std::vector<ContentsEntry>> tables;
  const auto is_entry = [&](size_t i) { return blocks[i].kind == BlockKind::TocEntry; };
  for (size_t i = 0; i < blocks.size();) {
    if (!is_entry(i)) {
      ++i;
      continue;
    }
    // A title of several entries, or the first line of a wrapped one, may stand in front.
    const size_t begin = i > 0 && blocks[i - 1].page == blocks[i].page ? i - 1 : i;
    size_t end = i + 1;
    for (size_t j = end; j < blocks.size() && blocks[j].page <= blocks[end - 1].page + kMaxApart; ++j)
      if (is_entry(j)) end = j + 1;
    auto entries = entries_of(blocks, static_cast<int>(begin), static_cast<int>(end));
    if (entries.size() >= kFewestEntries) tables.push_back(std::move(entries));
    i = end;
  }
  return tables;
}

std::vector<Heading> headings_from_contents(const std::vector<Block>& blocks) {
  std::vector<Heading> headings;
  const auto tables = read_contents(blocks);
  if (tables.empty()) return headings;
  const Finder finder(blocks);
  for (const auto& entries : tables) {
    auto found = finder.find(entries);
    if (found.size() * 2 < entries.size()) continue;
    headings.insert(headings.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  }
  std::stable_sort(headings.begin(), headings.end(), [](const auto& a, const auto& b) { return a.block < b.block; });
  headings.erase(
      std::unique(headings.begin(), headings.end(), [](const auto& a, const auto& b) { return a.block == b.block; }),
      headings.end());
  return headings;
}

}  // namespace longleaf
