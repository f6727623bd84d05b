// The order in which the pieces of a page are read. Pure functions: any thread.
#pragma once

#include <vector>

#include "ingest/reader/page_text.h"

namespace longleaf {

// Words that follow each other on a baseline without a wide gap.
struct Run {
  Box box;  // in points
  float size_pt = 0;
  int n_words = 0;
  int n_letters = 0, n_digits = 0;
  int n_right_to_left = 0;  // words
};

// Columns in reading order; in each the indices of its runs, top to bottom and then left to right.
std::vector<std::vector<int>> columns_in_order(const std::vector<Run>& runs);

}  // namespace longleaf
