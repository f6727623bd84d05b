// Sections for long stretches without headings: the text is cut where its words change, after TextTiling (Hearst,
// Computational Linguistics 23(1), 1997), but into parts of similar size, so that the tree is balanced. Pure function:
// any thread.
#pragma once

#include <vector>

#include "ingest/layout/blocks.h"
#include "ingest/structure/headings.h"

namespace longleaf {

struct TopicLimits {
  int longest_run_tokens = 4096;  // without a heading; more is cut
  int part_tokens = 2048;         // of the parts at the bottom
  int most_parts = 8;             // of one section
};

// The headings with one more for each part that was cut, in reading order; a part is named by its most telling words.
//   tokens    of each block
//   headings  in reading order
std::vector<Heading> with_topics(const std::vector<Block>& blocks, const std::vector<int>& tokens,
                                 const std::vector<Heading>& headings, const TopicLimits& limits = {});

}  // namespace longleaf
