// Finds headers, footers and page numbers: lines at a page's edge that return, up to their numbers, on other pages.
// Pure functions: any thread.
#pragma once

#include <vector>

#include "ingest/layout/lines.h"

namespace longleaf {

// pages  the lines of every page, in order; lines that are running heads are removed
// Returns how many were removed.
int remove_running_heads(std::vector<std::vector<Line>>& pages);

}  // namespace longleaf
