// A language model's description and weights, as a GGUF file gives them: architectures llama and qwen2.
// Immutable after load; const methods: any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/model/gguf.h"
#include "kernels/backend.h"

namespace longleaf {

struct ModelConfig {
  std::string architecture;  // "llama", "qwen2"
  std::string title;         // general.name, or the file's
  int n_layers = 0;
  int d_model = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  int d_ff = 0;
  int n_vocab = 0;
  int context_tokens = 0;  // length the model was trained for
  float rms_eps = 1e-5f;
  int rope_dims = 0;
  kernels::RopeStyle rope_style = kernels::RopeStyle::Adjacent;
  std::vector<float> rope_inv_freq;  // (rope_dims / 2), scaling included
  std::string weight_format;         // the format most weights have, for people
  uint64_t weight_bytes = 0;
};

struct LayerWeights {
  kernels::DevicePtr attn_norm = nullptr, ffn_norm = nullptr;  // f32 (d_model)
  kernels::Weight wq, wk, wv, wo, w_gate, w_up, w_down;
  kernels::DevicePtr bq = nullptr, bk = nullptr, bv = nullptr;  // f32, or nullptr
};

class Model {
 public:
  // Reads and checks the description, then makes the weights usable on `backend`, which must outlive the model.
  // Returns Unsupported with the architecture's or format's name, Corrupt for missing or misshapen tensors, NoMemory.
  static Result<std::shared_ptr<const Model>> load(std::shared_ptr<const Gguf> file, const kernels::Backend& backend);

  // The description alone: nothing is allocated.
  static Result<ModelConfig> describe(const Gguf& file);

  const ModelConfig& config() const { return config_; }
  const Gguf& file() const { return *file_; }
  const kernels::Backend& backend() const { return *backend_; }
  const kernels::Weight& embedding() const { return embedding_; }
  const kernels::Weight& output() const { return output_; }
  kernels::DevicePtr output_norm() const { return output_norm_; }
  kernels::DevicePtr inv_freq() const { return inv_freq_.data(); }
  const std::vector<LayerWeights>& layers() const { return layers_; }

  // Changes when anything that the memory of a document depends on changes: weights, tokenizer, shapes.
  uint64_t fingerprint() const { return fingerprint_; }

 private:
  Model() = default;
  Status load_weights();
  Result<kernels::Weight> weight(const std::string& name, int rows, int cols) const;
  Result<kernels::DevicePtr> vector(const std::string& name, int n, bool optional) const;

  ModelConfig config_;
  std::shared_ptr<const Gguf> file_;
  const kernels::Backend* backend_ = nullptr;
  kernels::Weight embedding_, output_;
  kernels::DevicePtr output_norm_ = nullptr;
  kernels::Buffer inv_freq_;
  std::vector<LayerWeights> layers_;
  uint64_t fingerprint_ = 0;
};

}  // namespace longleaf
