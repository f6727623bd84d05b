// Finds which blocks are headings, and of which level. Pure functions: any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

struct Heading {
  int block = 0;  // it stands in front of this block (or is it)
  int level = 1;  // 1: outermost
  std::string title;
  bool is_block = false;  // the block is the heading itself, not only what follows it
};

// Lower-case letters and digits only: for comparing an outline's titles with what stands on the page.
std::string folded(std::string_view text);

// Empty when the outline has no two entries with targets. Entries are matched to blocks of their page by text, else
// by height on the page. In reading order.
std::vector<Heading> headings_from_outline(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline);

// By font size, weight and numbering against the body text.
std::vector<Heading> headings_from_type(const std::vector<Block>& blocks);

}  // namespace longleaf
