// Blocks of a page whose format says what they are. Pure function: any thread.
#pragma once

#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

// REQUIRES: page.blocks is not empty. Hidden words are left out, and blocks of nothing else.
std::vector<Block> known_blocks(int index, const PageText& page);

}  // namespace longleaf
