// Sizes that products of training and those who launch them agree on. For host and device.
#pragma once

namespace longleaf::kernels::cuda {

constexpr int kGemmThreads = 256;  // 16 down, 16 across
constexpr int kGemmStep = 16;      // of k, in shared memory at a time

// Rows and columns of a tile, where each thread sums so many of each.
constexpr int gemm_tile(int per_thread) { return 16 * per_thread; }

}  // namespace longleaf::kernels::cuda
