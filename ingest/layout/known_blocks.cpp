#include "ingest/layout/known_blocks.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace longleaf {
namespace {

constexpr float kFixedPitchEm = 0.6f;  // as wide as a character of nearly every such font
constexpr long kDeepestCode = 80;      // characters

bool has_small_letter(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return std::islower(c) != 0 || c >= 0x80; });
}

// Where a line of code begins, in characters from where the block does.
std::string indentation(const Block& block, const Word& word, const PageText& page) {
  const float em = std::max(1.0f, word.size_pt);
  const float spaces = (word.box.x0 - block.words.front().box.x0) * page.width_pt / (kFixedPitchEm * em);
  return std::string(static_cast<size_t>(std::clamp(std::lround(spaces), 0L, kDeepestCode)), ' ');
}

void add_word(Block& block, const Word& word, const PageText& page, bool begins_line) {
  const bool first = block.words.empty();
  block.words.push_back({static_cast<uint32_t>(block.text.size()), static_cast<uint16_t>(word.text.size()), word.box});
  block.text += word.text;
  block.box = first ? word.box : united(block.box, word.box);
  block.n_lines += begins_line ? 1 : 0;
  const float left = word.box.x0 * page.width_pt, right = word.box.x1 * page.width_pt;
  block.left_pt = first ? left : std::min(block.left_pt, left);
  block.right_pt = first ? right : std::max(block.right_pt, right);
  if (!first && word.font != block.font) block.font = 0;
  if (first) block.font = word.font;
  block.size_pt = std::max(block.size_pt, word.size_pt);
  block.bold = word.bold && (first || block.bold);
  block.italic = word.italic && (first || block.italic);
}

}  // namespace

std::vector<Block> known_blocks(int index, const PageText& page) {
  std::vector<Block> blocks;
  bool space = false;  // between the last word and the next
  size_t next = 0;
  const Word* last = nullptr;
  for (size_t w = 0; w < page.words.size(); ++w) {
    const bool begins = next < page.blocks.size() && page.blocks[next].word == w;
    if (begins && !page.blocks[next].is_cell) {
      blocks.emplace_back();
      blocks.back().kind = page.blocks[next].kind;
      blocks.back().page = index;
      last = nullptr;
    }
    const Word& word = page.words[w];
    Block& block = blocks.back();
    const bool begins_line = last == nullptr || word.box.y0 >= last->box.y1;
    if (last != nullptr && begins_line && block.kind == BlockKind::Code && !word.hidden)
      block.text += "\n" + indentation(block, word, page);
    else if (begins && page.blocks[next].is_cell && !block.text.empty())
      block.text += " | ";
    else if (space && last != nullptr && !block.text.empty() && block.text.back() != ' ')
      block.text += ' ';
    next += begins ? 1 : 0;
    space = word.space_after;
    if (word.hidden) continue;
    add_word(block, word, page, begins_line);
    last = &word;
  }
  std::erase_if(blocks, [](const Block& block) { return block.words.empty(); });
  for (Block& block : blocks) block.capitals = block.text.size() > 3 && !has_small_letter(block.text);
  return blocks;
}

}  // namespace longleaf
