// From the words of all pages to the document's blocks in reading order. Pure function: any thread.
#pragma once

#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

// pages  every page of the document, in order
std::vector<Block> lay_out(const std::vector<PageText>& pages);

}  // namespace longleaf
