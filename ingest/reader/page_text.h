// What the PDF worker hands over, as plain values. Page geometry is normalised 0..1 with a top-left origin.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longleaf {

struct Box {
  float x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  float width() const { return x1 - x0; }
  float height() const { return y1 - y0; }
  bool operator==(const Box&) const = default;
};

inline Box united(const Box& a, const Box& b) {
  return {a.x0 < b.x0 ? a.x0 : b.x0, a.y0 < b.y0 ? a.y0 : b.y0, a.x1 > b.x1 ? a.x1 : b.x1, a.y1 > b.y1 ? a.y1 : b.y1};
}

struct Word {
  std::string text;  // UTF-8
  Box box;
  float size_pt = 0;  // font size
  bool bold = false, italic = false, fixed_pitch = false, underlined = false;
  bool space_after = false;
  bool hidden = false;  // no reader sees it: no ink, ink like the paper, tiny, covered, or off the page
  uint16_t font = 0;    // tells fonts apart; the same name gives the same number
  uint8_t turns = 0;    // quarter turns clockwise from upright
};

// Kept in libraries as numbers: only append.
enum class BlockKind : uint8_t { Paragraph, Heading, ListItem, Caption, TableRow, Footnote, Code, Formula, TocEntry };

// Where a block begins, for formats that say what their blocks are.
struct BlockStart {
  uint32_t word = 0;  // its first
  BlockKind kind = BlockKind::Paragraph;
  bool is_cell = false;  // another cell of the table row before, not a block of its own
};

struct PageText {
  int index = 0;  // from 0
  float width_pt = 0, height_pt = 0;
  std::string label;               // as printed, may be empty
  float picture_share = 0;         // of its area, covered by pictures
  std::vector<Word> words;         // in the reading order the reader found
  std::vector<BlockStart> blocks;  // of words in true reading order; empty where layout has to find both
};

struct OutlineEntry {
  int level = 0;  // 0: outermost
  std::string title;
  int page = -1;  // from 0; -1 when the target is missing or broken
  float top = 0;  // on that page
};

struct DocumentInfo {
  int pages = 0;
  std::string title, author;
};

struct PageImage {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb32;  // (height, width) pixels of 4 bytes: B, G, R, unused
};

}  // namespace longleaf
