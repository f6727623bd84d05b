// Which card, through which driver, with which kernels.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace longleaf::kernels::cuda {

struct DeviceOptions {
  std::string card;                     // a number from 0, or a UUID; empty: the first that can be used
  std::string library;                  // the driver, NVML and cuBLASLt; empty: where the system has them
  std::span<const void* const> images;  // compiled kernels; empty: those of this program
  int n_threads = 0;                    // of the processor, for packing weights; 0: one per processor
  bool own_products = false;            // never ask cuBLASLt: results are then the same in every program
  size_t limit_bytes = 0;               // allocations beyond this return NoMemory; 0: no limit but the card's
};

}  // namespace longleaf::kernels::cuda
