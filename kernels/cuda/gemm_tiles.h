// Sizes that products of training and those who launch them agree on. For host and device.
#pragma once

#include <cstdint>

namespace longleaf::kernels::cuda {

constexpr int kGemmThreads = 256;  // 16 down, 16 across
constexpr int kGemmStep = 16;      // of k, in shared memory at a time

constexpr int kLargestTile = 128, kSmallestTile = 64;

// The tile for a product of m rows and n columns: a large one where these are enough for all multiprocessors.
constexpr int tile_for(int m, int n, int multiprocessors) {
  const auto tiles = [](int of) { return int64_t{(of + kLargestTile - 1) / kLargestTile}; };
  return tiles(m) * tiles(n) >= multiprocessors ? kLargestTile : kSmallestTile;
}

// Rows and columns of a tile, where each thread sums so many of each.
constexpr int gemm_tile(int per_thread) { return 16 * per_thread; }

}  // namespace longleaf::kernels::cuda
