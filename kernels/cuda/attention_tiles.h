// Sizes that the attention kernels and those who launch them agree on. For host and device.
#pragma once

#include "kernels/span_attention.h"

namespace longleaf::kernels::cuda {

constexpr int kAttentionThreads = 128;

// attend_rows: keys that are scored at a time.
constexpr int kKeyChunk = 64;
// For `group` heads that share a KV head: three rows per head, scores, and three numbers.
constexpr unsigned attend_rows_shared_bytes(int group, int head_dim) {
  return static_cast<unsigned>(group * (3 * head_dim + kKeyChunk + 3)) * sizeof(float);
}

// attend_tiles: query rows of a block, and keys of a tile, which are those of a page.
constexpr int kQueryRows = 64, kTileKeys = kPageTokens;
// Halves from one row to the next in shared memory: so far apart that eight rows meet all banks.
constexpr int row_halves(int dim) { return dim + 8; }
constexpr unsigned attend_tiles_shared_bytes(int dim) {
  return static_cast<unsigned>((kQueryRows + 2 * kTileKeys) * row_halves(dim)) * sizeof(uint16_t);
}

}  // namespace longleaf::kernels::cuda
