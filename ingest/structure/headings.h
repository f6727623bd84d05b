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

// Outlines lie: a title is looked for on the page its entry points to, then around it, then everywhere; entries whose
// matches are not in reading order are placed by their target between those that are; an outline that only counts pages
// is none. Empty when fewer than two entries are left. In reading order.
std::vector<Heading> headings_from_outline(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline);

// From the outline where it is usable, else from printed tables of contents, and in both cases by type what they leave
// out; by type alone where there is neither.
std::vector<Heading> find_headings(const std::vector<Block>& blocks, const std::vector<OutlineEntry>& outline);

}  // namespace longleaf
