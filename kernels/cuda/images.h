// The compiled kernels within this program: fat binaries, one per .cu file. Empty when it was built without CUDA.
#pragma once

#include <span>

namespace longleaf::kernels::cuda {

std::span<const void* const> embedded_images();

}  // namespace longleaf::kernels::cuda
