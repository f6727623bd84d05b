#include "ingest/layout/blocks.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <string_view>

#include "ingest/layout/letters.h"
#include "ingest/layout/line_kinds.h"

namespace longleaf {
namespace {

constexpr float kLooser = 1.22f;        // than the usual leading opens a block
constexpr float kLeastLooserEm = 0.3f;  // and by at least this much
constexpr float kUsualLeading = 1.4f;   // where the document shows none
constexpr float kSizeStep = 1.07f;      // a change of font size that opens a block
constexpr float kIndentEm = 0.9f;
constexpr float kShortOfEdge = 0.2f;  // of the column's width, that a paragraph's last line ends before its edge
constexpr float kApartEm = 4;         // a gap inside a line that no text has
constexpr float kSameLineOverlap = 0.5f;

int half_points(float size_pt) { return static_cast<int>(std::lround(size_pt * 2)); }

struct Open {
  std::vector<const Line*> lines;
  BlockKind kind = BlockKind::Paragraph;
  float left = 0;
  float column_right = 0;
};

// "IV." "B." "2.1": what numbers headings rather than lists.
bool begins_with_number(const Line& line) {
  const std::string& word = line.words.front().text;
  if (line.words.size() < 2 || word.size() > 7 ||
      (word.back() != '.' && word.back() != ')' && std::isdigit(static_cast<unsigned char>(word.back())) == 0))
    return false;
  return std::all_of(word.begin(), word.end(),
                     [](unsigned char c) {
                       return c == '.' || c == '(' || c == ')' || std::isdigit(c) != 0 ||
                              std::string_view("IVXL").find(static_cast<char>(c)) != std::string_view::npos;
                     }) ||
         (word.size() == 2 && std::isalpha(static_cast<unsigned char>(word[0])) != 0);
}

// A change of type that no emphasis inside a paragraph makes.
bool is_style_break(const Line& line, const Line& last) {
  const float larger = std::max(line.size_pt, last.size_pt), smaller = std::min(line.size_pt, last.size_pt);
  if (larger > smaller * kSizeStep) return true;
  if (line.font != 0 && last.font != 0 && line.font != last.font && line.italic == last.italic) return true;
  const bool last_is_short = last.place.x1 < last.place.x0 + 0.8f * (line.place.x1 - last.place.x0);
  return line.bold != last.bold || (line.italic != last.italic && last_is_short);
}

// Lines that stand by themselves: rows, entries, and whatever begins a list item, a caption or a note.
bool opens_by_kind(const Open& open, BlockKind kind, const Line& line) {
  switch (kind) {
    case BlockKind::TableRow:
    case BlockKind::TocEntry:
    case BlockKind::ListItem:
    case BlockKind::Caption:
      return true;
    case BlockKind::Footnote:
      return open.kind != kind || std::isdigit(static_cast<unsigned char>(line.words[0].text[0])) != 0;
    case BlockKind::Code:
    case BlockKind::Formula:
      return open.kind != kind;
    default:
      return open.kind == BlockKind::TableRow || open.kind == BlockKind::TocEntry || open.kind == BlockKind::Footnote ||
             open.kind == BlockKind::Code || open.kind == BlockKind::Formula;
  }
}

bool opens_block(const Open& open, BlockKind kind, const Line& line, const Setting& setting) {
  const Line& last = *open.lines.back();
  if (line.column != last.column || opens_by_kind(open, kind, line)) return true;
  if (line.place.x0 >= last.place.x1 && line.place.y0 < last.place.y1) return true;  // split apart
  const float step = line.place.y1 - last.place.y1;
  const float em = std::max(1.0f, last.size_pt);
  const float usual = setting.leading_of(last.size_pt) * em;
  if (kind == BlockKind::Code || kind == BlockKind::Formula) return step > 2.5f * usual;
  if (is_style_break(line, last)) return true;
  if (step > usual * kLooser && step > usual + kLeastLooserEm * em) return true;
  const bool last_is_short = last.place.x1 < open.column_right - kShortOfEdge * (open.column_right - open.left);
  // A title that is numbered hangs: its second line stands further right.
  const bool other_edge = line.place.x0 < last.place.x0 - kIndentEm * em ||
                          (line.place.x0 > last.place.x0 + kIndentEm * em && !begins_with_number(*open.lines.front()));
  if (last_is_short && (other_edge || begins_with_number(line))) return true;
  if (std::min(line.place.x1, last.place.x1) < std::max(line.place.x0, last.place.x0)) return true;
  // A first-line indent: further right than the lines so far, which are flush.
  return open.kind == BlockKind::Paragraph && line.place.x0 > open.left + kIndentEm * em &&
         line.place.x0 < open.left + 6 * em && last.place.x0 < open.left + 0.3f * em && open.lines.size() > 1;
}

constexpr std::array<std::string_view, 3> kHyphens = {"-", "\u2010", "\u00AD"};

// The hyphen that ends the text; empty: none does.
std::string_view hyphen_at_end(std::string_view text) {
  const auto ends = [&](std::string_view hyphen) { return text.ends_with(hyphen); };
  const auto found = std::find_if(kHyphens.begin(), kHyphens.end(), ends);
  return found == kHyphens.end() ? std::string_view() : *found;
}

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  std::string small(word);
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::find(words.begin(), words.end(), small) != words.end();
}

// First parts that keep their hyphen wherever a line ends: "self-contained", "well-known".
bool keeps_hyphen(std::string_view word) {
  while (!word.empty() && std::isalpha(static_cast<unsigned char>(word[0])) == 0) word.remove_prefix(1);
  return is_one_of(word, {"self", "well", "half", "quasi", "non"});
}

// "Vor- und Nachteile": the hyphen stands for a word that follows.
bool joins_words(std::string_view word) { return is_one_of(word, {"und", "oder", "bzw."}); }

// Ends the text so far so that the first word of a new line can follow.
void end_line(Block& block, const std::string& next) {
  const std::string_view hyphen = hyphen_at_end(block.text);
  const std::string_view before = std::string_view(block.text).substr(0, block.text.size() - hyphen.size());
  const bool divides =
      is_letter(last_character(before)) && is_small_letter(first_character(next)) && !joins_words(next);
  if (hyphen == "\u00AD" || (!hyphen.empty() && divides)) {
    const std::string_view word = before.substr(std::min(before.size(), size_t{block.words.back().offset}));
    if (hyphen != "\u00AD" && keeps_hyphen(word)) return;
    block.text.resize(before.size());
    block.words.back().length = static_cast<uint16_t>(block.text.size() - block.words.back().offset);
    return;
  }
  if (block.kind == BlockKind::Code)
    block.text += '\n';
  else if (!is_written_without_spaces(last_character(block.text)) || !is_written_without_spaces(first_character(next)))
    block.text += ' ';
}

void append_line(Block& block, const Line& line) {
  size_t cell = 0;
  for (size_t i = 0; i < line.words.size(); ++i) {
    const Word& word = line.words[i];
    const bool new_cell = cell < line.cells.size() && line.cells[cell] == i;
    cell += new_cell ? 1 : 0;
    if (i == 0 && !block.text.empty())
      end_line(block, word.text);
    else if (new_cell && block.kind == BlockKind::TableRow)
      block.text += " | ";
    else if (i > 0 && (line.words[i - 1].space_after || new_cell))
      block.text += ' ';
    const size_t length = std::min<size_t>(word.text.size(), UINT16_MAX);
    block.words.push_back({static_cast<uint32_t>(block.text.size()), static_cast<uint16_t>(length), word.box});
    block.text.append(word.text, 0, length);
  }
}

Block close_block(int page, const Open& open) {
  const Line& first = *open.lines.front();
  Block block;
  block.kind = open.kind;
  block.page = page;
  block.n_lines = static_cast<int>(open.lines.size());
  block.box = first.box;
  block.left_pt = first.place.x0, block.right_pt = first.place.x1;
  block.size_pt = first.size_pt;
  block.font = first.font;
  block.bold = first.bold;
  block.italic = first.italic;
  block.underlined = first.underlined;
  block.capitals = first.capitals;
  block.aside = first.aside;
  for (const Line* line : open.lines) {
    block.box = united(block.box, line->box);
    block.left_pt = std::min(block.left_pt, line->place.x0);
    block.right_pt = std::max(block.right_pt, line->place.x1);
    if (line->font != block.font) block.font = 0;
    block.italic &= line->italic;
    block.capitals &= line->capitals;
    append_line(block, *line);
  }
  return block;
}

}  // namespace

const char* name_of(BlockKind kind) {
  switch (kind) {
    case BlockKind::Paragraph:
      return "paragraph";
    case BlockKind::Heading:
      return "heading";
    case BlockKind::ListItem:
      return "list_item";
    case BlockKind::Caption:
      return "caption";
    case BlockKind::TableRow:
      return "table_row";
    case BlockKind::Footnote:
      return "footnote";
    case BlockKind::Code:
      return "code";
    case BlockKind::Formula:
      return "formula";
    case BlockKind::TocEntry:
      return "toc_entry";
  }
  return "?";
}

float Setting::leading_of(float size_pt) const {
  const auto found = leading.find(half_points(size_pt));
  return found == leading.end() ? kUsualLeading : found->second;
}

// The closest leading that is common: the most frequent one may be that between list items. In twentieths of the size.
std::optional<float> usual_leading(const std::map<int, size_t>& steps) {
  const auto around = [&](int step) {
    size_t n = 0;
    for (auto it = steps.lower_bound(step - 1); it != steps.end() && it->first <= step + 1; ++it) n += it->second;
    return n;
  };
  size_t peak = 0;
  for (const auto& [step, n] : steps) peak = std::max(peak, around(step));
  if (peak < 3) return std::nullopt;
  for (const auto& [step, n] : steps)
    if (around(step) * 2 >= peak) return (static_cast<float>(step) + 1) / 20;
  return std::nullopt;
}

void SettingCounts::learn(const std::vector<Line>& page) {
  for (size_t i = 0; i < page.size(); ++i) {
    const Line& line = page[i];
    const int size = half_points(line.size_pt);
    for (const Word& word : line.words) {
      const size_t n = word.text.size();
      sizes_[size] += n, all_ += n;
      fixed_ += word.fixed_pitch ? n : 0;
    }
    if (i == 0 || page[i - 1].column != line.column || half_points(page[i - 1].size_pt) != size) continue;
    const float step = (line.place.y1 - page[i - 1].place.y1) / std::max(1.0f, line.size_pt);
    if (step > 0.8f && step < 3.5f && line.words.size() > 3 && line.cells.empty() && page[i - 1].cells.empty())
      ++steps_[size][static_cast<int>(step * 20)];
  }
}

Setting SettingCounts::setting() const {
  Setting setting;
  const auto most =
      std::max_element(sizes_.begin(), sizes_.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most != sizes_.end()) setting.body_size_pt = static_cast<float>(most->first) / 2;
  setting.fixed_pitch = fixed_ * 2 > all_;
  for (const auto& [size, histogram] : steps_)
    if (const auto leading = usual_leading(histogram)) setting.leading[size] = *leading;
  return setting;
}

// A line of text with a wide gap outside of any table: two things beside each other, as a title and a mark at the edge.
std::vector<Line> split_apart(const std::vector<Line>& lines, std::vector<BlockKind>& kinds) {
  std::vector<Line> out;
  std::vector<BlockKind> out_kinds;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool splits = kinds[i] == BlockKind::Paragraph && !lines[i].cells.empty() && lines[i].cells[0] > 0;
    const auto parts = splits ? parts_of(lines[i], kApartEm) : std::vector<Line>{lines[i]};
    out.insert(out.end(), parts.begin(), parts.end());
    out_kinds.insert(out_kinds.end(), parts.size(), kinds[i]);
  }
  kinds = std::move(out_kinds);
  return out;
}

std::vector<Block> make_blocks(int page, const std::vector<Line>& all, const Setting& setting) {
  auto kinds = kinds_of(all, setting);
  const auto lines = split_apart(all, kinds);
  std::map<int, float> right;  // edge of each column
  for (const Line& line : lines) right[line.column] = std::max(right[line.column], line.place.x1);
  std::vector<Block> blocks;
  Open open;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    if (!open.lines.empty() && opens_block(open, kinds[i], line, setting)) {
      blocks.push_back(close_block(page, open));
      open.lines.clear();
    }
    if (open.lines.empty()) open.left = line.place.x0, open.kind = kinds[i], open.column_right = right[line.column];
    open.left = std::min(open.left, line.place.x0);
    open.lines.push_back(&line);
  }
  if (!open.lines.empty()) blocks.push_back(close_block(page, open));
  return blocks;
}

std::vector<Box> boxes_of(const Block& block, size_t begin, size_t end) {
  std::vector<Box> boxes;
  const auto overlap = [](const Box& a, const Box& b) { return std::min(a.y1, b.y1) - std::max(a.y0, b.y0); };
  for (const WordPlace& word : block.words) {
    if (word.offset >= end || word.offset + word.length <= begin) continue;
    const bool same_line = !boxes.empty() && overlap(boxes.back(), word.box) > kSameLineOverlap * word.box.height() &&
                           word.box.x0 > boxes.back().x0;
    if (same_line)
      boxes.back() = united(boxes.back(), word.box);
    else
      boxes.push_back(word.box);
  }
  return boxes;
}

}  // namespace longleaf
