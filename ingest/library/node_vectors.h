// Vectors of leaves, as an embedding model made them: kept with the document, gone with it. Uses a Library: its thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "ingest/library/library.h"

namespace longleaf {

// By leaf. `model` is the fingerprint of the model that made them.
Result<std::unordered_map<int64_t, std::vector<float>>> leaf_vectors(Library& library, int64_t document,
                                                                     uint64_t model);
// Stores them together.
Status add_leaf_vectors(Library& library, uint64_t model,
                        const std::vector<std::pair<int64_t, std::vector<float>>>& vectors);

}  // namespace longleaf
