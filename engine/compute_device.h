// Where the engine computes: the processor, NVIDIA cards, or several of these, each with some of the layers.
// Functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "engine/model/model.h"
#include "engine/placement.h"
#include "kernels/cuda/options.h"

namespace longleaf {

struct DeviceRequest {
  // "auto", "cpu", "cuda", "cuda:1" (number from 0), "cuda:GPU-…" (its UUID), or several cards, best first, with commas
  // between them.
  std::string name = "auto";
  int n_threads = 0;                 // of the processor; 0: one per processor
  size_t limit_bytes = 0;            // of each card's memory, or with "cpu" of the processor's; 0: what there is
  ModelNeeds needs;                  // of a card
  kernels::cuda::DeviceOptions gpu;  // its driver and kernels, where they are not the system's and this program's
};

struct ComputeDevice {
  kernels::BackendPtr backend;
  bool is_gpu = false;
  int n_layers = 0;
};

struct ComputeDevices {
  std::vector<ComputeDevice> all;  // in the order of their layers
  std::string note;  // one sentence, where "auto" came to the processor, or a model is not on one card; else empty
  bool wants_room = false;  // layers are on the processor for which a card that can be used had no room
  bool has_gpu() const;
  std::string name() const;  // for people
  Placement placement() const;
  // Of the cards, or of the processor where there is no card.
  kernels::MemoryInfo memory() const;
};

// "auto" takes the first card with room for the whole model; else all cards, those first that turn out to have the
// fastest memory, and the processor for the layers that are left; else the processor. A card that is named takes what
// it can, the processor the rest. Returns Invalid for a name that is none, Unsupported or NotFound where a card was
// asked for and cannot be used, NoMemory where it has no room for a single layer.
Result<ComputeDevices> open_devices(const DeviceRequest& request);

// One device for a model that is not cut, as training has it; needs are not looked at. "auto" takes the card with
// most room, else the processor; the limit is that of whichever it is. Returns as open_devices, and Invalid for several
// cards.
Result<ComputeDevices> open_one_device(DeviceRequest request);

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
  std::string why_no_gpu;             // one sentence; empty when "auto" uses one
  bool has_products_library = false;  // NVIDIA's cuBLASLt; looked for where there are cards
};
DeviceFacts describe_devices();

}  // namespace longleaf
