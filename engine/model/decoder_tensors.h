// Where a decoder's weights are in its file, layer by layer: names, shapes, fused tensors and experts taken apart.
// What loads them onto a device and what trains them read the same description.
#pragma once

#include <vector>

#include "engine/model/config.h"
#include "engine/model/weights.h"

namespace longleaf {

// Matrices point into the file. Vectors are empty where the architecture or the file has none.
struct LayerTensors {
  std::vector<float> attn_norm, ffn_norm;            // before; (d_model)
  std::vector<float> attn_post_norm, ffn_post_norm;  // behind; (d_model)
  std::vector<float> q_norm, k_norm;                 // (head_dim), or of all heads
  kernels::Weight wq, wk, wv, wo;
  std::vector<float> bq, bk, bv;
  kernels::Weight w_gate, w_up, w_down;  // dense
  kernels::Weight router;                // (n_experts, d_model)
  struct Expert {
    kernels::Weight w_gate, w_up, w_down;
  };
  std::vector<Expert> experts;
};

struct OutputTensors {
  kernels::Weight embedding, output;  // (n_vocab, d_model); the same tensor where they are tied
  bool tied = false;
  std::vector<float> norm;  // (d_model)
};

// Return Corrupt for what is missing or of another shape, Unsupported for a format.
Result<LayerTensors> layer_tensors(Weights& weights, const ModelConfig& config, int layer);
Result<OutputTensors> output_tensors(Weights& weights, const ModelConfig& config);

// Whether the file has all of them, and no weights that would be left out silently. Reads vectors only, so that what
// cannot be run is refused before it takes memory. Errors as above.
Status check_decoder_tensors(const ModelFile& file, const ModelConfig& config);

}  // namespace longleaf
