// What the emulated driver knows of its cards' memory.
#pragma once

#include "kernels/cuda/driver.h"

namespace simt {

// Whether [address, address + bytes) lies in one block of the current card's memory.
bool is_device_memory(longleaf::kernels::cuda::DeviceAddress address, size_t bytes);

}  // namespace simt
