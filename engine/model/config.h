// A language model's description: what its file says of its shape, checked before any memory is taken.
#pragma once

#include <string>
#include <vector>

#include "engine/model/architecture.h"
#include "engine/model/model_file.h"

namespace longleaf {

enum class RopeKind {
  Global,
  Local,  // of layers with a window, where the architecture gives them their own
  None,
};

struct LayerConfig {
  int window = 0;  // > 0: tokens a query sees back, itself included
  RopeKind rope = RopeKind::Global;
};

struct ModelConfig {
  const Architecture* architecture = nullptr;
  std::string title;  // general.name, or the file's
  int n_layers = 0;
  int d_model = 0;
  int n_heads = 0;
  int n_kv_heads = 0;
  int head_dim = 0;
  int d_ff = 0;
  int n_experts = 0;       // 0: the feed-forward part is dense
  int n_experts_used = 0;  // per token
  int n_vocab = 0;
  int context_tokens = 0;  // length the model was trained for
  float norm_eps = 1e-5f;
  float norm_offset = 0;  // added to the norms' weights as the file has them

  int rope_dims = 0;
  kernels::RopeStyle rope_style = kernels::RopeStyle::Halves;
  std::vector<float> rope_inv_freq;        // (rope_dims / 2), scaling included
  std::vector<float> local_rope_inv_freq;  // likewise, for RopeKind::Local; may be empty
  float rope_magnitude = 1;                // of rotated numbers (LongRoPE, arXiv 2402.13753)
  std::vector<LayerConfig> layers;

  float embedding_scale = 1;
  float attention_scale = 1;  // of scores
  float residual_scale = 1;   // of what a layer adds
  float logit_scale = 1;
  float attention_soft_cap = 0;  // 0: none
  float logit_soft_cap = 0;

  std::string weight_format;  // the format most weights have, for people
  uint64_t weight_bytes = 0;  // in the file
  // Of the matrices, as the CPU keeps them in memory; cards take the same within a percent.
  std::vector<uint64_t> layer_bytes;  // (n_layers)
  uint64_t output_bytes = 0;          // of the output matrix, and whatever belongs to no layer
  uint64_t table_bytes = 0;           // of the embeddings, which are looked up in the file
};

// Returns Unsupported with the name of what this version cannot run, Corrupt for what is missing or impossible.
Result<ModelConfig> read_model_config(const ModelFile& file);

// "The model file X lacks Y; download it again", as an error.
Status lacks(const ModelFile& file, const std::string& what);

}  // namespace longleaf
