// Full-text search over leaves, by SQLite's BM25. Uses a Library: its thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ingest/library/library.h"

namespace longleaf {

struct SearchHit {
  int64_t leaf = 0;
  int page = 0;  // of the first marked word
  double score = 0;
  std::string snippet;     // hits between ** and **
  std::vector<Box> boxes;  // of the marked words on `page`
};

// Leaves that have all `words`: "quoted phrases" stay together, the last word may be a beginning.
Result<std::vector<SearchHit>> search(Library& library, int64_t document, std::string_view words, int limit);

}  // namespace longleaf
