#include "engine/placement.h"

#include <algorithm>
#include <numeric>

namespace longleaf {

uint64_t ModelNeeds::of_last(int n_layers) const {
  return std::accumulate(layer_bytes.end() - n_layers, layer_bytes.end(), output_bytes + workspace_bytes);
}

ModelNeeds needs_of(const ModelConfig& c, uint64_t kv_bytes_per_token, int n_tokens, int batch_tokens) {
  const auto u = [](int n) { return static_cast<uint64_t>(n); };
  const uint64_t heads = u(c.n_heads) * u(c.head_dim), kv = u(c.n_kv_heads) * u(c.head_dim);
  const uint64_t rounded = u(std::max(c.d_model, c.d_ff)) / 2;  // a product's input as bytes and scales, in floats
  ModelNeeds needs;
  needs.layer_bytes = c.layer_bytes;
  for (uint64_t& bytes : needs.layer_bytes) bytes += kv_bytes_per_token * u(n_tokens) / u(c.n_layers);
  needs.output_bytes = c.output_bytes;
  needs.workspace_bytes =
      4 * ((2 * u(c.d_model) + 2 * heads + 2 * kv + 2 * u(c.d_ff) + rounded) * u(batch_tokens) + u(c.n_vocab));
  return needs;
}

std::vector<int> place_layers(const ModelNeeds& needs, std::span<const uint64_t> rooms) {
  std::vector<int> placed;
  auto left = static_cast<int>(needs.layer_bytes.size());
  for (const uint64_t room : rooms) {
    const bool is_last = left == static_cast<int>(needs.layer_bytes.size());
    uint64_t used = needs.workspace_bytes + (is_last ? needs.output_bytes : 0);
    int n = 0;
    while (n < left && used + needs.layer_bytes[static_cast<size_t>(left - n - 1)] <= room)
      used += needs.layer_bytes[static_cast<size_t>(left - ++n)];
    placed.push_back(n);
    left -= n;
  }
  return placed;
}

}  // namespace longleaf
