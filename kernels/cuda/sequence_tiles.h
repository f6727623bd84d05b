// Sizes that attention within sequences and those who launch it agree on. For host and device.
#pragma once

namespace longleaf::kernels::cuda {

constexpr int kSequenceThreads = 128, kSequenceWarps = 4;
constexpr int kSequenceKeys = 32;  // of a tile: one per lane

// For heads of up to `dim` numbers: queries of a warp, and of a tile.
constexpr int queries_per_warp(int dim) { return dim <= 128 ? 4 : 2; }
constexpr int sequence_queries(int dim) { return kSequenceWarps * queries_per_warp(dim); }

// Numbers from row to row in shared memory: so that the same column of all rows lies in all banks.
constexpr int sequence_row(int dim) { return dim + 1; }

// Tiles of keys and of values, `query_rows` tiles of what queries have, and as many of scores.
constexpr unsigned sequence_shared_bytes(int dim, int query_rows) {
  const int keys = 2 * kSequenceKeys * sequence_row(dim);
  const int queries = query_rows * sequence_queries(dim) * (sequence_row(dim) + sequence_row(kSequenceKeys));
  return static_cast<unsigned>(keys + queries) * sizeof(float);
}

}  // namespace longleaf::kernels::cuda
