#include "ingest/layout/blocks.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

namespace longleaf {
namespace {

constexpr float kSameLineOverlap = 0.5f;   // of the lower of two words' heights
constexpr float kColumnGapEm = 4.0f;       // a wider gap inside a baseline separates columns
constexpr float kNewBlockLeading = 1.65f;  // baseline distance over font size that opens a block
constexpr float kSizeStep = 1.07f;         // a change of font size that opens a block
constexpr float kIndentEm = 0.9f;

float overlap(const Box& a, const Box& b) { return std::min(a.y1, b.y1) - std::max(a.y0, b.y0); }

bool continues_line(const Line& line, const Word& word, float width_pt) {
  const Word& last = line.words.back();
  const float height = std::min(last.box.height(), word.box.height());
  if (overlap(last.box, word.box) < kSameLineOverlap * height &&
      overlap(line.box, word.box) < kSameLineOverlap * height)
    return false;
  const float em = std::max({last.size_pt, word.size_pt, 4.0f}) / width_pt;
  const float gap = word.box.x0 - last.box.x1;
  return gap > -1.5f * em && gap < kColumnGapEm * em;
}

// Size and weight by characters.
void summarise(Line& line) {
  std::map<float, size_t> sizes;
  size_t bold = 0, all = 0;
  for (const Word& word : line.words) {
    sizes[std::round(word.size_pt * 4) / 4] += word.text.size();
    all += word.text.size();
    bold += word.bold ? word.text.size() : 0;
  }
  size_t most = 0;
  for (const auto& [size, n] : sizes)
    if (n > most) most = n, line.size_pt = size;
  line.bold = bold * 2 > all;
}

bool is_bullet(const std::string& word) {
  static const char* const marks[] = {"\u2022", "\u25CF", "\u25AA", "\u25E6", "\u2023", "\u2013", "\u2014",
                                      "-",      "*",      "\u00B7", "\uF0B7", "\u25A0", "\u27A2"};
  return std::any_of(std::begin(marks), std::end(marks), [&](const char* mark) { return word == mark; });
}

// "1." "(a)" "iv)" "12)" – but not "3.2", which numbers a heading.
bool is_enumerator(const std::string& word) {
  size_t begin = word.size() > 1 && word[0] == '(' ? 1 : 0;
  const size_t end = word.size() - 1;
  if (word.size() < 2 || (word[end] != ')' && word[end] != '.') || end - begin > 3 || end <= begin) return false;
  const bool digits = std::all_of(word.begin() + static_cast<long>(begin), word.begin() + static_cast<long>(end),
                                  [](unsigned char c) { return std::isdigit(c) != 0; });
  const bool letter =
      end - begin == 1 && std::isalpha(static_cast<unsigned char>(word[begin])) != 0 && word[end] == ')';
  return digits || letter;
}

bool opens_list_item(const Line& line) {
  return line.words.size() > 1 && (is_bullet(line.words[0].text) || is_enumerator(line.words[0].text));
}

struct Open {
  std::vector<const Line*> lines;
  float left = 0;
};

bool opens_block(const Open& open, const Line& line) {
  const Line& last = *open.lines.back();
  if (opens_list_item(line)) return true;
  if (line.bold != last.bold) return true;
  const float larger = std::max(line.size_pt, last.size_pt), smaller = std::min(line.size_pt, last.size_pt);
  if (larger > smaller * kSizeStep) return true;
  const float height = std::max(line.box.height(), last.box.height());
  const float step = line.box.y0 - last.box.y0;
  if (step < 0.3f * height) return true;  // upwards or beside: another column
  if (step > kNewBlockLeading * height) return true;
  if (std::min(line.box.x1, last.box.x1) < std::max(line.box.x0, last.box.x0)) return true;
  // A first-line indent: further right than the lines so far, which are flush.
  const float em = line.box.height();
  const bool is_list = opens_list_item(*open.lines.front());
  return !is_list && open.lines.size() > 1 && line.box.x0 > open.left + kIndentEm * em &&
         last.box.x0 < open.left + 0.3f * em;
}

bool starts_lower(const std::string& text) {
  return !text.empty() && std::islower(static_cast<unsigned char>(text[0])) != 0;
}

void append_word(Block& block, const Word& word, bool line_start) {
  static const std::string kSoftHyphen = "\u00AD";
  std::string text = word.text;
  if (line_start && !block.text.empty()) {
    const bool soft = block.text.size() >= 2 && block.text.compare(block.text.size() - 2, 2, kSoftHyphen) == 0;
    const size_t n = block.text.size();
    const bool hard =
        n >= 2 && block.text[n - 1] == '-' && std::isalpha(static_cast<unsigned char>(block.text[n - 2])) != 0;
    if (soft || (hard && starts_lower(text))) {
      block.text.erase(n - (soft ? 2 : 1));
      block.words.back().length = static_cast<uint16_t>(block.text.size() - block.words.back().offset);
    } else {
      block.text += ' ';
    }
  }
  const size_t length = std::min<size_t>(text.size(), UINT16_MAX);
  block.words.push_back({static_cast<uint32_t>(block.text.size()), static_cast<uint16_t>(length), word.box});
  block.text.append(text, 0, length);
}

Block close_block(int page, const Open& open) {
  Block block;
  block.page = page;
  block.n_lines = static_cast<int>(open.lines.size());
  block.box = open.lines.front()->box;
  block.size_pt = open.lines.front()->size_pt;
  block.bold = open.lines.front()->bold;
  block.kind = opens_list_item(*open.lines.front()) ? BlockKind::ListItem : BlockKind::Paragraph;
  for (const Line* line : open.lines) {
    block.box = united(block.box, line->box);
    for (size_t i = 0; i < line->words.size(); ++i) {
      if (i > 0 && line->words[i - 1].space_after) block.text += ' ';
      append_word(block, line->words[i], i == 0);
    }
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
  }
  return "?";
}

std::vector<Line> make_lines(const PageText& page) {
  std::vector<Line> lines;
  for (const Word& word : page.words) {
    if (lines.empty() || !continues_line(lines.back(), word, page.width_pt)) {
      lines.push_back({{word}, word.box, 0, false});
      continue;
    }
    Line& line = lines.back();
    if (word.box.x0 > line.words.back().box.x1)
      line.words.back().space_after |= word.box.x0 - line.words.back().box.x1 > 0.15f * word.size_pt / page.width_pt;
    line.words.push_back(word);
    line.box = united(line.box, word.box);
  }
  for (Line& line : lines) summarise(line);
  return lines;
}

std::vector<Block> make_blocks(int page, const std::vector<Line>& lines) {
  std::vector<Block> blocks;
  Open open;
  for (const Line& line : lines) {
    if (!open.lines.empty() && opens_block(open, line)) {
      blocks.push_back(close_block(page, open));
      open.lines.clear();
    }
    if (open.lines.empty()) open.left = line.box.x0;
    open.left = std::min(open.left, line.box.x0);
    open.lines.push_back(&line);
  }
  if (!open.lines.empty()) blocks.push_back(close_block(page, open));
  return blocks;
}

std::vector<Box> boxes_of(const Block& block, size_t begin, size_t end) {
  std::vector<Box> boxes;
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
