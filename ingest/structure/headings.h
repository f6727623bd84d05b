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

// Empty when the outline has no two entries with targets. Entries are matched to blocks of their page by text, else
// by height on the page. In reading order.
std::vector<Heading> headings_from_outline(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline);

// From the outline where it is usable, else from printed tables of contents, and in both cases by type what they leave
// out; by type alone where there is neither.
std::vector<Heading> find_headings(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline);

}  // namespace longleaf
