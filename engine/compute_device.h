// Where the engine computes: the processor, or an NVIDIA card.
// Functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/options.h"

namespace longleaf {

struct DeviceRequest {
  std::string name = "auto";         // "auto", "cpu", "cuda", "cuda:1" (number from 0), "cuda:GPU-…" (its UUID)
  int n_threads = 0;                 // of the processor; 0: one per processor
  size_t limit_bytes = 0;            // of the device's memory; 0: what there is
  uint64_t needed_bytes = 0;         // "auto" takes a card only if so much of its memory is free
  kernels::cuda::DeviceOptions gpu;  // its driver and kernels, where they are not the system's and this program's
};

struct ComputeDevice {
  kernels::BackendPtr backend;
  bool is_gpu = false;
  std::string why_no_gpu;  // one sentence, where "auto" came to the processor
};

// Returns Invalid for a name that is none, Unsupported or NotFound where a card was asked for and cannot be used.
Result<ComputeDevice> open_device(const DeviceRequest& request);

// What is there, for people.
struct GpuFacts {
  std::string name, uuid;
  uint64_t memory_bytes = 0;
  int compute = 0;      // capability, 90 for 9.0
  std::string problem;  // why it cannot be used; empty when it can
};
struct DeviceFacts {
  std::string processor;
  uint64_t memory_bytes = 0;  // of this machine
  int driver_version = 0;     // 13000 for CUDA 13.0; 0 without a driver
  std::vector<GpuFacts> gpus;
  std::string why_no_gpu;  // one sentence; empty when "auto" uses one
};
DeviceFacts describe_devices();

}  // namespace longleaf
