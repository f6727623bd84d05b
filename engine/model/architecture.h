// What sets one family of decoders apart from the next, as data: the forward pass reads it and knows no family by name.
// Sources: the models' reports and their published configurations; tensor and key names: the GGUF specification.
#pragma once

#include <string>
#include <string_view>

#include "kernels/backend.h"
#include "kernels/types.h"

namespace longleaf {

enum class QkNorm {
  None,
  Head,   // every head of Q and K by itself (Qwen 3, Gemma 3)
  Whole,  // all heads together (OLMo 2)
};

struct Architecture {
  std::string_view name;  // general.architecture
  kernels::RopeStyle rope = kernels::RopeStyle::Halves;
  kernels::Activation activation = kernels::Activation::Silu;
  QkNorm qk_norm = QkNorm::None;
  bool norm_before = true;         // RMSNorm before attention and before the feed-forward part
  bool norm_after = false;         // … and behind each, before it is added
  bool fused = false;              // Q, K, V in one tensor, gate and up in another (Phi 3)
  bool scales_embedding = false;   // by sqrt(d_model) (Gemma)
  bool adds_one_to_norms = false;  // to their weights, as their makers publish them (Gemma)
  bool experts = false;            // the feed-forward part is a mixture of experts
  // Of every `window_period` layers the last one sees all, the others only the sliding window; 1: no layer sees all.
  int window_period = 1;
  // Where a file does not say: tokens of the sliding window, and the caps of scores and logits; 0: none.
  int window = 0;
  double attention_soft_cap = 0, logit_soft_cap = 0;
  int rope_free_period = 0;    // every n-th layer is not rotated (SmolLM 3)
  double local_rope_base = 0;  // > 0: layers with a window have a base of their own (Gemma 3)
  // Layers from which on scores are scaled by sqrt(d_model / n_heads) instead of sqrt(head_dim): Gemma's largest.
  int width_scale_layers = 0;
};

// nullptr when this version does not run it.
const Architecture* find_architecture(std::string_view name);

// The names of all, for people.
std::string architecture_names();

}  // namespace longleaf
