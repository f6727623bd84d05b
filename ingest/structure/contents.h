// Reads printed tables of contents and finds their titles in the text. Pure functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/layout/blocks.h"
#include "ingest/structure/headings.h"

namespace longleaf {

struct ContentsEntry {
  std::string title;
  int number = -1;  // the printed page; -1 where it is Roman, counted by chapter or missing
  int level = 1;    // by indentation, else by numbering and type
  int block = 0;    // where the entry stands
};

// The entries of every table of contents, in order. A document bound of several may have several tables.
std::vector<std::vector<ContentsEntry>> read_contents(const std::vector<Block>& blocks);

// The headings that tables of contents name, in reading order. The distance between printed and counted pages is found
// by vote. A table of which fewer than half of the entries are found is left out: it belongs to something else.
std::vector<Heading> headings_from_contents(const std::vector<Block>& blocks);

}  // namespace longleaf
