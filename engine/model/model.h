// A language model's weights on a device, as a GGUF file gives them. Immutable after load; const methods: any thread.
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

class Model {
 public:
  // Reads and checks the description, then packs the weights for `backend`, which must outlive the model.
  // Returns Unsupported with the architecture's or format's name, Corrupt for missing or misshapen tensors, NoMemory.
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const ModelFile> file,
                                                   const kernels::Backend& backend);

  const ModelConfig& config() const { return config_; }
  const ModelFile& file() const { return *file_; }
  const kernels::Backend& backend() const { return *backend_; }
  const kernels::Weight& embedding() const { return embedding_; }
  const kernels::PackedWeight& output() const { return output_; }
  kernels::DevicePtr output_norm() const { return output_norm_; }
  // nullptr for RopeKind::None.
  kernels::DevicePtr inv_freq(RopeKind kind) const;
  const std::vector<LayerWeights>& layers() const { return layers_; }

  // Changes when anything that the memory of a document depends on changes: weights, tokenizer, shapes.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  friend class WeightLoader;
  Model() = default;

  ModelConfig config_;
  std::shared_ptr<const ModelFile> file_;
  const kernels::Backend* backend_ = nullptr;
  kernels::Weight embedding_;
  kernels::PackedWeight output_;
  kernels::DevicePtr output_norm_ = nullptr;
  kernels::Buffer inv_freq_, local_inv_freq_;
  std::vector<kernels::Buffer> memory_;  // of the packed weights
  std::vector<LayerWeights> layers_;
  uint64_t fingerprint_ = 0;
};

}  // namespace longleaf
