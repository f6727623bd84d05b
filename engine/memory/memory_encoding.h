// Making a document's memories with the model. On Cancelled or an error, what was finished is kept in the records.
// `store` is scratch: emptied before and after. Not thread-safe.
#pragma once

#include "engine/memory/memory_records.h"
#include "engine/memory/segments.h"

namespace longleaf {

// A memory per node, children first (H²MT, arXiv 2605.24930, section 3.2.2), those of one depth together.
Status encode_tree(const TextTree& tree, MemoryReader& reader, KvStore& store, MemoryRecords& records,
                   std::stop_token stop);

// A memory per segment, one after another, since each begins with what it recalls of those before it (HMT, arXiv
// 2405.06067, section 3).
Status encode_segments(const Segments& text, MemoryReader& reader, KvStore& store, MemoryRecords& records,
                       std::stop_token stop);

constexpr size_t kReadTokens = 2048;  // at a time, so that a pass stays small, and little is lost when it is stopped

}  // namespace longleaf
