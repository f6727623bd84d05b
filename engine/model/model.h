// A language model's weights on its devices, as a GGUF file gives them. Immutable after load; const methods: any
// thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/model/config.h"
#include "kernels/backend.h"

namespace longleaf {

// Vectors are f32 on the device; nullptr where the architecture or the file has none.
struct LayerWeights {
  kernels::DevicePtr attn_norm = nullptr, ffn_norm = nullptr;            // before; (d_model)
  kernels::DevicePtr attn_post_norm = nullptr, ffn_post_norm = nullptr;  // behind; (d_model)
  kernels::DevicePtr q_norm = nullptr, k_norm = nullptr;                 // (head_dim), or of all heads
  kernels::PackedWeight wq, wk, wv, wo;
  kernels::DevicePtr bq = nullptr, bk = nullptr, bv = nullptr;
  kernels::PackedWeight w_gate, w_up, w_down;  // dense
  kernels::PackedWeight router;                // (n_experts, d_model)
  struct Expert {
    kernels::PackedWeight w_gate, w_up, w_down;
  };
  std::vector<Expert> experts;
};

// Layers in a row that one device computes.
struct DeviceShare {
  const kernels::Backend* backend = nullptr;
  int n_layers = 0;
};
// Every layer once, in the order they run. The last device has the output matrix too.
using Placement = std::vector<DeviceShare>;

class Model {
 public:
  // Reads and checks the description, then packs the weights for the devices, which must outlive the model.
  // Returns Unsupported with the architecture's or format's name, Corrupt for missing or misshapen tensors, NoMemory.
  // REQUIRES: the layers placed are those of the model.
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const ModelFile> file, const Placement& placement);
  // The whole model on one device.
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const ModelFile> file,
                                                   const kernels::Backend& backend);

  const ModelConfig& config() const { return config_; }
  const ModelFile& file() const { return *file_; }
  const Placement& placement() const { return placement_; }
  const kernels::Weight& embedding() const { return embedding_; }
  const kernels::PackedWeight& output() const { return output_; }
  kernels::DevicePtr output_norm() const { return output_norm_; }
  // On the device of that share; nullptr for RopeKind::None.
  kernels::DevicePtr inv_freq(size_t share, RopeKind kind) const;
  const std::vector<LayerWeights>& layers() const { return layers_; }

  // Changes when anything that the memory of a document depends on changes: weights, tokenizer, shapes.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  friend class WeightLoader;
  Model() = default;
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const ModelFile> file, ModelConfig config,
                                                   const Placement& placement);

  ModelConfig config_;
  std::shared_ptr<const ModelFile> file_;
  Placement placement_;
  kernels::Weight embedding_;
  kernels::PackedWeight output_;
  kernels::DevicePtr output_norm_ = nullptr;
  struct Rotations {
    kernels::Buffer global, local;
  };
  std::vector<Rotations> inv_freq_;      // per share
  std::vector<kernels::Buffer> memory_;  // of the packed weights
  std::vector<LayerWeights> layers_;
  uint64_t fingerprint_ = 0;
};

}  // namespace longleaf
