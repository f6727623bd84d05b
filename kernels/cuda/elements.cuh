// Loops over numbers by all threads of a grid.
#pragma once

#include <cstdint>

namespace longleaf::kernels::cuda {

__device__ inline int64_t first_element() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t next_element() { return int64_t{gridDim.x} * blockDim.x; }

}  // namespace longleaf::kernels::cuda
