#include "engine/model/architecture.h"

namespace longleaf {
namespace {

using kernels::Activation;
using kernels::RopeStyle;

constexpr Architecture kArchitectures[] = {
    {.name = "llama", .rope = RopeStyle::Adjacent},
    {.name = "qwen2"},
    {.name = "qwen3", .qk_norm = QkNorm::Head},
    {.name = "qwen3moe", .qk_norm = QkNorm::Head, .experts = true},
    {.name = "gemma2",
     .activation = Activation::Gelu,
     .norm_after = true,
     .scales_embedding = true,
     .adds_one_to_norms = true,
     .window_period = 2,
     .window = 4096,
     .attention_soft_cap = 50,
     .logit_soft_cap = 30,
     .width_scale_layers = 46},
    {.name = "gemma3",
     .activation = Activation::Gelu,
     .qk_norm = QkNorm::Head,
     .norm_after = true,
     .scales_embedding = true,
     .adds_one_to_norms = true,
     .window_period = 6,
     .local_rope_base = 10000,
     .width_scale_layers = 62},
    {.name = "phi3", .fused = true},
    {.name = "smollm3", .rope = RopeStyle::Adjacent, .rope_free_period = 4},
    {.name = "granite", .rope = RopeStyle::Adjacent},
    {.name = "olmo2", .qk_norm = QkNorm::Whole, .norm_before = false, .norm_after = true, .window_period = 4},
};

}  // namespace

const Architecture* find_architecture(std::string_view name) {
  for (const auto& architecture : kArchitectures)
    if (architecture.name == name) return &architecture;
  return nullptr;
}

std::string architecture_names() {
  std::string names;
  for (const auto& architecture : kArchitectures) names += (names.empty() ? "" : ", ") + std::string(architecture.name);
  return names;
}

}  // namespace longleaf
