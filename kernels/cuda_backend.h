// An NVIDIA card as a device.
#pragma once

#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/options.h"

namespace longleaf::kernels {

constexpr int kCudaBatchTokens = 512;  // enough tiles of a product for the multiprocessors of a large card

// Returns Unsupported or NotFound with one sentence that says why there is none and what to do.
Result<BackendPtr> make_cuda_backend(const cuda::DeviceOptions& options = {});

}  // namespace longleaf::kernels
