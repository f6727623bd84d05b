// From lines to blocks: what a reader sees as paragraphs, list items, table rows. Pure functions: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ingest/layout/lines.h"

namespace longleaf {

const char* name_of(BlockKind kind);

// Where a word of a block's text stands: bytes [offset, offset + length) of the text.
struct WordPlace {
  uint32_t offset = 0;
  uint16_t length = 0;
  Box box;
};

struct Block {
  BlockKind kind = BlockKind::Paragraph;
  int page = 0;
  std::string text;              // one paragraph, hyphenation undone; cells of a row are separated by " | "
  std::vector<WordPlace> words;  // in text order
  Box box;
  float left_pt = 0, right_pt = 0;  // of its lines, in points, text running from left to right
  float size_pt = 0;
  uint16_t font = 0;  // of all its lines; 0 when they differ
  bool bold = false, italic = false, underlined = false, capitals = false;
  bool aside = false;  // see Line
  int n_lines = 0;
};

// How the document is set: what is usual decides what stands out.
struct Setting {
  float body_size_pt = 0;
  bool fixed_pitch = false;      // typewritten throughout: nothing is code for that
  std::map<int, float> leading;  // by size in half points: baseline distance over size
  float leading_of(float size_pt) const;
};

// Learns the setting from the lines of every page. Not thread-safe: one thread owns it.
class SettingCounts {
 public:
  void learn(const std::vector<Line>& page);
  Setting setting() const;

 private:
  std::map<int, size_t> sizes_;                 // half points → bytes
  std::map<int, std::map<int, size_t>> steps_;  // half points → twentieths of the size → lines
  size_t fixed_ = 0, all_ = 0;                  // bytes
};

// Joins lines of a page into blocks by spacing, style, indentation, list marks and columns.
std::vector<Block> make_blocks(int page, const std::vector<Line>& lines, const Setting& setting);

// Boxes of bytes [begin, end) of the block's text, one per line of the page.
std::vector<Box> boxes_of(const Block& block, size_t begin, size_t end);

}  // namespace longleaf
