// From the words of a page to its lines in reading order. Pure functions: any thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "ingest/reader/page_text.h"

namespace longleaf {

// Words on one baseline of one column, in the order they are read.
struct Line {
  std::vector<Word> words;
  Box box;
  Box place;          // the same in points, turned or mirrored so that the text runs from left to right
  float size_pt = 0;  // the size most of its characters have
  uint16_t font = 0;  // of all its words; 0 when they differ
  // Of most of its characters:
  bool bold = false, italic = false, underlined = false, fixed_pitch = false;
  bool capitals = false;         // no small letter, and at least four capitals
  bool aside = false;            // turned against the page's text as a stamp in a margin, or beside other text
  int column = 0;                // lines with one number follow each other down one column
  std::vector<size_t> cells;     // words that begin after a gap wider than text has: cells of a row
  std::vector<float> cell_gaps;  // their gaps, in points
};

// Hidden words are left out. Columns are found by recursive cuts along white space (Nagy and Seth's X-Y tree, 1984),
// with bands of rows that share a gutter; tables are read row by row. Right-to-left text comes in logical order.
std::vector<Line> read_lines(const PageText& page);

// The line cut at its gaps of at least `gap_em` of its size; all parts but the first are aside.
std::vector<Line> parts_of(const Line& line, float gap_em);

}  // namespace longleaf
