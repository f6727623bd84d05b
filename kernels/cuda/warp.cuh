// Threads of a warp and of a block, together.
#pragma once

#include <cstdint>

namespace longleaf::kernels::cuda {

constexpr int kWarpThreads = 32;
constexpr unsigned kAllLanes = 0xffffffffu;
constexpr int kMostWarps = 32;  // of a block

// The sum over all lanes, in the same order whatever the values: every lane gets it.
__device__ inline float warp_sum(float x) {
  for (int bits = kWarpThreads / 2; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}

__device__ inline float warp_max(float x) {
  for (int bits = kWarpThreads / 2; bits > 0; bits /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, bits));
  return x;
}

// The sum over all threads of a block of whole warps. All threads call it.
//   partial  shared, one float per warp; free again when all threads have passed another barrier
__device__ inline float block_sum(float x, float* partial) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads, warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int warps = static_cast<int>(blockDim.x) / kWarpThreads;
  x = warp_sum(x);
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

// The largest of all threads of a block; as block_sum.
__device__ inline float block_max(float x, float* partial) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads, warp = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int warps = static_cast<int>(blockDim.x) / kWarpThreads;
  x = warp_max(x);
  if (lane == 0) partial[warp] = x;
  __syncthreads();
  return warp_max(lane < warps ? partial[lane] : -INFINITY);
}

}  // namespace longleaf::kernels::cuda
