// What a model takes of the memory of the devices that compute it, and which device gets which layers.
// Functions: any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/config.h"
#include "kernels/cpu_backend.h"
#include "kernels/cuda_backend.h"

namespace longleaf {

struct ModelNeeds {
  std::vector<uint64_t> layer_bytes;  // per layer: weights, and KV of the tokens planned for
  uint64_t kv_bytes = 0;              // of that, KV
  uint64_t output_bytes = 0;          // what the device of the last layer has besides: output matrix, draft model; and
  uint64_t logit_bytes = 0;           // of that, to compute logits in
  uint64_t workspace_bytes = 0;       // activations, and rows on their way to and from the host, on every device

  // Of the last `n_layers` on one device.
  uint64_t of_last(int n_layers) const;
  uint64_t all() const { return of_last(static_cast<int>(layer_bytes.size())); }
};

//   kv            of the store
//   n_tokens      whose keys and values are planned for
//   batch_tokens  computed at once
ModelNeeds needs_on_card(const ModelConfig& config, kernels::DType kv, int n_tokens,
                         int batch_tokens = kernels::kCudaBatchTokens);
// Without what only a device with a memory of its own needs.
ModelNeeds needs_on_processor(const ModelConfig& config, kernels::DType kv, int n_tokens,
                              int batch_tokens = kernels::kCpuBatchTokens);

// How many layers each device gets, given the room of each, best first: the first takes the last layers, as many as it
// can, the next those in front of them. The sum may be less than all. A device that has no room for the output gets
// none, and the next one has the last layers.
std::vector<int> place_layers(const ModelNeeds& needs, std::span<const uint64_t> rooms);

}  // namespace longleaf
