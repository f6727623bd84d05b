#include "ingest/structure/type_headings.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <string_view>
#include <tuple>

namespace longleaf {
namespace {

constexpr size_t kMaxBytes = 200, kMaxWeakBytes = 100;
constexpr int kMaxLines = 3;
constexpr float kLarger = 1.08f;      // than body text
constexpr float kSmallest = 0.95f;    // of body text, for a heading that is only bold
constexpr size_t kFewestWeak = 3;     // headings of a type that only slant, capitals or underlines set off
constexpr size_t kLongest = 3;        // headings of one type in a row without text between them
constexpr float kMostBlocks = 0.34f;  // share of the blocks that headings of a document can be
constexpr size_t kParagraphBytes = 120;
constexpr size_t kFewestLabels = 4;  // of one word with numbers
constexpr int kFrontPages = 3;       // pages at the start that may be covers

struct Body {
  int half_points = 0;
  bool bold = false, italic = false;
  uint16_t font = 0;
};

Body body_of(const std::vector<Block>& blocks) {
  std::map<std::tuple<int, bool, bool, uint16_t>, size_t> weight;
  for (const Block& block : blocks)
    if (block.kind == BlockKind::Paragraph || block.kind == BlockKind::ListItem)
      weight[{static_cast<int>(std::lround(block.size_pt * 2)), block.bold, block.italic, block.font}] +=
          block.text.size();
  Body body;
  size_t most = 0;
  for (const auto& [style, n] : weight)
    if (n > most) most = n, body = {std::get<0>(style), std::get<1>(style), std::get<2>(style), std::get<3>(style)};
  return body;
}

size_t letters_in(const std::string& text) {
  size_t n = 0;
  // Private use areas (lead byte EE, and EF for their end) hold bullets and boxes.
  for (unsigned char c : text) n += std::isalpha(c) != 0 ? 2 : c >= 0xC0 && c != 0xEE && c != 0xEF ? 3 : 0;
  return n / 2;
}

bool reads_like_text(const std::string& text, bool numbered) {
  const char last = text.back();
  if (last == ',' || last == ';') return true;
  if (last == '.' && text.size() > (numbered ? 100 : 50)) return true;
  if (text.find("....") != std::string::npos || text.find(" . . ") != std::string::npos) return true;
  return text.find("@") != std::string::npos || text.find("http") != std::string::npos;
}

// How much a heading stands out: only strong ones are believed singly.
enum class Strength { None, Weak, Strong };

// "(1) Capacity": numbered and short, each word of weight with a capital, set as the body is.
bool is_plain_title(const Block& block, const Numbering& number) {
  if (number.kind == NumberKind::None || block.n_lines != 1 || block.text.size() > 70 || block.text.back() == '.')
    return false;
  const std::string title = without_numbering(block.text);
  size_t words = 0, capital = 0;
  for (size_t at = 0; at < title.size();) {
    const size_t end = std::min(title.find(' ', at), title.size());
    if (end - at > 3) ++words, capital += std::isupper(static_cast<unsigned char>(title[at])) != 0 ? 1 : 0;
    at = end + 1;
  }
  return words > 0 && words == capital;
}

Strength strength_of(const Block& block, const Numbering& number, const Body& body) {
  const int size = static_cast<int>(std::lround(block.size_pt * 2));
  const auto at_least = [&](float share) {
    return static_cast<float>(size) >= share * static_cast<float>(body.half_points);
  };
  if (at_least(kLarger)) return Strength::Strong;
  if (!at_least(kSmallest)) return Strength::None;
  if (block.bold && !body.bold) return Strength::Strong;
  const bool numbered = number.kind != NumberKind::None;
  const bool set_off = block.capitals || (block.italic && !body.italic) || block.underlined;
  if (set_off && numbered) return Strength::Strong;
  if (block.text.size() > kMaxWeakBytes) return Strength::None;
  const bool other_font = block.font != 0 && body.font != 0 && block.font != body.font;
  if (set_off || (other_font && numbered)) return Strength::Weak;
  return is_plain_title(block, number) ? Strength::Weak : Strength::None;
}

struct Candidate {
  int block;
  TypeKey type;
  Numbering number;
  Strength strength;
};

bool may_be_heading(const Block& block) {
  const bool kind = block.kind == BlockKind::Paragraph || block.kind == BlockKind::ListItem;
  return kind && !block.aside && block.text.size() >= 2 && block.text.size() <= kMaxBytes &&
         block.n_lines <= kMaxLines && letters_in(block.text) >= 3;
}

bool starts_small(const std::string& title) {
  return !title.empty() && std::islower(static_cast<unsigned char>(title[0])) != 0;
}

// The first line of a paragraph that only begins in another type.
bool runs_on(const Block& block, const Block& next, bool numbered) {
  if (next.page != block.page || next.kind == BlockKind::Caption) return false;
  if (starts_small(next.text) || block.text.back() == '-') return true;
  const float line = block.box.height() / static_cast<float>(std::max(1, block.n_lines));
  const bool tight = next.box.y0 > block.box.y0 && next.box.y0 - block.box.y1 < 0.15f * line;
  return block.text.back() == '.' && !numbered && tight;
}

std::vector<Candidate> candidates_of(const std::vector<Block>& blocks, const Body& body) {
  std::vector<Candidate> found;
  for (int i = 0; i < static_cast<int>(blocks.size()); ++i) {
    const Block& block = blocks[static_cast<size_t>(i)];
    if (!may_be_heading(block)) continue;
    const Numbering number = numbering_of(block.text);
    const bool numbered = number.kind != NumberKind::None;
    if (block.kind == BlockKind::ListItem && !numbered) continue;
    if (reads_like_text(block.text, numbered) || (!numbered && starts_small(block.text))) continue;
    if (i + 1 < static_cast<int>(blocks.size()) && runs_on(block, blocks[static_cast<size_t>(i) + 1], numbered))
      continue;
    const Strength strength = strength_of(block, number, body);
    if (strength != Strength::None) found.push_back({i, type_key(block), number, strength});
  }
  return found;
}

// Text that a heading can stand over.
bool is_text(const Block& block) {
  switch (block.kind) {
    case BlockKind::Paragraph:
    case BlockKind::ListItem:
      return block.text.size() >= 40 || block.n_lines > 1;
    case BlockKind::TableRow:
    case BlockKind::Code:
    case BlockKind::Caption:
    case BlockKind::Formula:
    case BlockKind::TocEntry:
      return true;
    default:
      return false;
  }
}

// Lines of a cover, an address, a table: many alike in a row and nothing between them.
void drop_rows(const std::vector<Block>& blocks, std::vector<Candidate>& candidates) {
  std::vector<Candidate> kept;
  for (size_t begin = 0; begin < candidates.size();) {
    size_t end = begin + 1;
    while (end < candidates.size() && candidates[end].type == candidates[begin].type) {
      bool between = false;
      for (int b = candidates[end - 1].block + 1; b < candidates[end].block; ++b)
        between |= blocks[static_cast<size_t>(b)].kind != BlockKind::Footnote;
      if (between) break;
      ++end;
    }
    const bool numbered = candidates[begin].number.kind != NumberKind::None;
    if (end - begin < kLongest || numbered)
      kept.insert(kept.end(), candidates.begin() + static_cast<long>(begin),
                  candidates.begin() + static_cast<long>(end));
    begin = end;
  }
  candidates = std::move(kept);
}

// Sentences, as no list of authors has.
bool is_paragraph(const Block& block) {
  return block.kind == BlockKind::Paragraph && block.text.size() >= kParagraphBytes && block.n_lines > 1 &&
         (block.text.find(". ") != std::string::npos || block.text.back() == '.');
}

// Titles of covers and of papers: what stands before the contents, or before the first paragraph, on the first pages.
// After the word "Contents", what stands there without page numbers is no heading either.
void drop_front(const std::vector<Block>& blocks, std::vector<Candidate>& candidates) {
  const auto at = [&](int i) -> const Block& { return blocks[static_cast<size_t>(i)]; };
  int contents = -1, first = -1;
  for (int i = 0; i < static_cast<int>(blocks.size()) && at(i).page < kFrontPages; ++i) {
    if (contents < 0 && names_contents(at(i).text)) contents = i;
    if (at(i).kind == BlockKind::TocEntry && contents < 0) contents = i;
  }
  for (int i = contents + 1; i < static_cast<int>(blocks.size()) && first < 0; ++i) {
    if (contents < 0 && at(i).page >= kFrontPages) break;
    if (is_paragraph(at(i))) first = i;
  }
  int last_entry = contents;
  for (int i = contents + 1;
       contents >= 0 && i < static_cast<int>(blocks.size()) && at(i).page <= at(last_entry).page + 1; ++i)
    if (at(i).kind == BlockKind::TocEntry || at(i).page == at(contents).page) last_entry = i;
  if (contents >= 0) first = first < 0 ? last_entry + 1 : std::min(first, last_entry + 1);
  std::erase_if(candidates, [&](const Candidate& c) {
    if (c.block == contents && names_contents(at(c.block).text)) return false;
    if (c.block < contents) return true;
    if (c.block >= first) return false;
    // The last one before the paragraph is its heading.
    return c.block != first - 1 && (contents >= 0 || c.number.kind == NumberKind::None);
  });
}

// "Definition 12", "Aufgabe 3 (Begriffe)": the word in front of the number.
std::string label_of(const Candidate& c, const std::string& text) {
  const size_t space = text.find(' ');
  if (c.number.kind != NumberKind::None || space == std::string::npos || space + 1 >= text.size()) return {};
  return std::isdigit(static_cast<unsigned char>(text[space + 1])) != 0 ? text.substr(0, space) : std::string();
}

// Labels that are counted through a document mark statements and exercises, not sections.
void drop_labels(const std::vector<Block>& blocks, std::vector<Candidate>& candidates) {
  std::map<std::string, size_t> counts;
  const auto label = [&](const Candidate& c) { return label_of(c, blocks[static_cast<size_t>(c.block)].text); };
  for (const Candidate& c : candidates) ++counts[label(c)];
  std::erase_if(candidates, [&](const Candidate& c) {
    const std::string name = label(c);
    return !name.empty() && counts[name] >= kFewestLabels;
  });
}

// A type is believed when most of its members stand over text.
void drop_types(const std::vector<Block>& blocks, std::vector<Candidate>& candidates) {
  struct Seen {
    size_t all = 0, over_text = 0;
  };
  std::map<std::pair<TypeKey, NumberKind>, Seen> seen;
  std::vector<bool> is_candidate(blocks.size(), false);
  for (const Candidate& c : candidates) is_candidate[static_cast<size_t>(c.block)] = true;
  const auto key = [](const Candidate& c) { return std::make_pair(c.type, c.number.kind); };
  const auto over_text = [&](const Candidate& c) {
    const auto next = static_cast<size_t>(c.block) + 1;
    if (next >= blocks.size()) return false;
    return c.strength == Strength::Strong && is_candidate[next] ? true : is_text(blocks[next]) && !is_candidate[next];
  };
  for (const Candidate& c : candidates) {
    auto& s = seen[key(c)];
    ++s.all;
    s.over_text += over_text(c) ? 1 : 0;
  }
  std::erase_if(candidates, [&](const Candidate& c) {
    const Seen& s = seen[key(c)];
    if (s.over_text * 2 < s.all) return true;
    if (!over_text(c)) return c.number.kind == NumberKind::None;
    return c.strength == Strength::Weak && s.all < kFewestWeak;
  });
}

// Chapters open with their number in one line and their title in the next: "CHAPTER 1", "Loomings". Returns the titles
// of the candidates; those that went into the one before are removed.
std::vector<std::string> join_openings(const std::vector<Block>& blocks, std::vector<Candidate>& candidates) {
  const auto opens = [&](size_t i) {
    if (i + 1 >= candidates.size()) return false;
    const Candidate &c = candidates[i], &next = candidates[i + 1];
    const Block& block = blocks[static_cast<size_t>(c.block)];
    return c.number.kind == NumberKind::Named && c.number.length >= block.text.size() && next.block == c.block + 1 &&
           next.number.kind == NumberKind::None && blocks[static_cast<size_t>(next.block)].page == block.page;
  };
  // Titles of chapters have a type of their own: of a type that stands elsewhere too, it is the first section.
  std::map<TypeKey, std::pair<size_t, size_t>> uses;  // as titles, and all
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].number.kind == NumberKind::None) ++uses[candidates[i].type].second;
    if (opens(i)) ++uses[candidates[i + 1].type].first;
  }
  std::vector<Candidate> kept;
  std::vector<std::string> titles;
  for (size_t i = 0; i < candidates.size(); ++i) {
    kept.push_back(candidates[i]);
    titles.push_back(blocks[static_cast<size_t>(candidates[i].block)].text);
    if (!opens(i)) continue;
    const auto [as_title, all] = uses[candidates[i + 1].type];
    if (2 * as_title <= all) continue;
    titles.back() += " " + blocks[static_cast<size_t>(candidates[++i].block)].text;
  }
  candidates = std::move(kept);
  return titles;
}

// Outer kinds of numbers first.
int order_of(const Numbering& number) {
  switch (number.kind) {
    case NumberKind::Named:
      return number.name == "part" || number.name == "teil" || number.name == "partie" ? 0 : 1;
    case NumberKind::Roman:
      return 2;
    case NumberKind::UpperLetter:
      return 3;
    case NumberKind::Decimal:
      return 3 + number.depth;
    case NumberKind::LowerLetter:
      return 11;
    case NumberKind::InBrackets:
      return 12;
    case NumberKind::None:
      break;
  }
  return 13;
}

int prominence(const TypeKey& type) {
  return type.half_points * 16 + (type.bold ? 8 : 0) + (type.capitals ? 4 : 0) + (type.underlined ? 2 : 0) +
         (type.italic ? 0 : 1);
}

// Smaller is further out. Where most headings are numbered the numbers decide, and headings without a number rank with
// the numbered ones that look alike; elsewhere prominence decides, and numbers among equals.
class Ranks {
 public:
  explicit Ranks(const std::vector<Candidate>& candidates) {
    size_t numbered = 0;
    for (const Candidate& c : candidates) {
      if (c.number.kind == NumberKind::None) continue;
      ++numbered;
      const auto [it, added] = numbered_types_.try_emplace(c.type, order_of(c.number));
      if (!added) it->second = std::min(it->second, order_of(c.number));
    }
    by_number_ = numbered * 2 >= candidates.size();
  }

  std::pair<int, int> rank(const Candidate& c) const {
    if (!by_number_) return {-prominence(c.type), order_of(c.number)};
    if (c.number.kind != NumberKind::None) return {order_of(c.number) * 2, 0};
    if (const auto alike = numbered_types_.find(c.type); alike != numbered_types_.end()) return {alike->second * 2, 0};
    int outer = -1;  // the innermost numbered type that stands out more
    for (const auto& [type, order] : numbered_types_)
      if (prominence(type) > prominence(c.type)) outer = std::max(outer, order);
    return {outer * 2 + 1, 0};
  }

 private:
  std::map<TypeKey, int> numbered_types_;
  bool by_number_ = false;
};

}  // namespace

TypeKey type_key(const Block& block) {
  return {static_cast<int>(std::lround(block.size_pt * 2)), block.bold, block.italic, block.underlined, block.capitals};
}

bool names_contents(const std::string& title) {
  static constexpr std::array<std::string_view, 8> names = {
      "contents", "tableofcontents", "inhalt", "inhaltsverzeichnis", "sommaire", "índice", "indice", "目次"};
  return std::find(names.begin(), names.end(), folded(title)) != names.end();
}

std::vector<Heading> headings_from_type(const std::vector<Block>& blocks) {
  auto candidates = candidates_of(blocks, body_of(blocks));
  drop_rows(blocks, candidates);
  drop_front(blocks, candidates);
  drop_labels(blocks, candidates);
  drop_types(blocks, candidates);
  // So many headings: the document has no body to stand out from.
  if (static_cast<float>(candidates.size()) > kMostBlocks * static_cast<float>(blocks.size())) return {};
  const auto titles = join_openings(blocks, candidates);
  const Ranks ranks(candidates);
  std::vector<Heading> headings;
  std::vector<std::pair<int, int>> open;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const auto rank = ranks.rank(candidates[i]);
    while (!open.empty() && open.back() >= rank) open.pop_back();
    open.push_back(rank);
    headings.push_back({candidates[i].block, static_cast<int>(open.size()), titles[i], true});
  }
  return headings;
}

}  // namespace longleaf
