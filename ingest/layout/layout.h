// From the words of all pages to the document's blocks in reading order. Pure function: any thread.
#pragma once

#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

// pages  every page of the document, in order; hand them over, and their words are freed as they are used
std::vector<Block> lay_out(std::vector<PageText> pages);

}  // namespace longleaf
