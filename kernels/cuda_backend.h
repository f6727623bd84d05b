// An NVIDIA card as a device.
#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/options.h"

namespace longleaf::kernels {

// Of a card's free memory, the share that is kept for what is not counted: the driver's own, a library of products, and
// what other programs take later.
constexpr size_t kCudaSpareShare = 16;

constexpr int kCudaBatchTokens = 512;  // enough tiles of a product for the multiprocessors of a large card

// Returns Unsupported or NotFound with one sentence that says why there is none and what to do.
Result<BackendPtr> make_cuda_backend(const cuda::DeviceOptions& options = {});

}  // namespace longleaf::kernels
