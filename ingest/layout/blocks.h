// From words to lines to blocks: what a reader sees as paragraphs, headings and list items. Pure functions: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ingest/pdf/page_text.h"

namespace longleaf {

// Words on one baseline, left to right.
struct Line {
  std::vector<Word> words;
  Box box;
  float size_pt = 0;  // the size most of its characters have
  bool bold = false;  // most of its characters
};

enum class BlockKind : uint8_t { Paragraph, Heading, ListItem };
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
  std::string text;              // one paragraph, hyphenation undone
  std::vector<WordPlace> words;  // in text order
  Box box;
  float size_pt = 0;
  bool bold = false;
  int n_lines = 0;
};

// Lines in the page's reading order.
std::vector<Line> make_lines(const PageText& page);

// Joins lines into blocks by spacing, size, weight, indentation and list marks.
std::vector<Block> make_blocks(int page, const std::vector<Line>& lines);

// Boxes of bytes [begin, end) of the block's text, one per line of the page.
std::vector<Box> boxes_of(const Block& block, size_t begin, size_t end);

}  // namespace longleaf
