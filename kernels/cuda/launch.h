// Launches of kernels whose grid may be any.
#pragma once

#include <algorithm>
#include <string>

#include "kernels/cuda/gpu.h"

namespace longleaf::kernels::cuda {

constexpr unsigned kThreads = 256, kWarp = 32;
constexpr int64_t kMostBlocks = 4096;  // of a loop over numbers: each thread takes several where there are more

// A kernel that loops over n numbers.
template <typename Args>
Status over_numbers(void* self, const std::string& kernel, int64_t n, const Args& args) {
  if (n == 0) return {};
  const auto blocks = static_cast<int64_t>(pieces(n, kThreads));
  return gpu(self).device->launch(kernel, {static_cast<unsigned>(std::min(blocks, kMostBlocks))}, kThreads, 0, args);
}

// A kernel of one block per row, in whole warps, with no more threads than there are columns for.
template <typename Args>
Status over_rows(void* self, const std::string& kernel, int rows, int cols, const Args& args) {
  if (rows == 0) return {};
  const unsigned threads = std::clamp(pieces(cols, kWarp) * kWarp, kWarp, kThreads);
  return gpu(self).device->launch(kernel, {static_cast<unsigned>(rows)}, threads, 0, args);
}

}  // namespace longleaf::kernels::cuda
