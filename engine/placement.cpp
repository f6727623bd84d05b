#include "engine/placement.h"

#include <algorithm>
#include <numeric>

#include "engine/transformer/stage.h"

namespace longleaf {

uint64_t ModelNeeds::of_last(int n_layers) const {
  return std::accumulate(layer_bytes.end() - n_layers, layer_bytes.end(), output_bytes + workspace_bytes);
}

namespace {

uint64_t u(int n) { return static_cast<uint64_t>(n); }

// What a stage allocates to compute in, and a product's input as its weights want it: see stage.cpp.
uint64_t workspace_of(const ModelConfig& c, int batch_tokens) {
  const uint64_t heads = u(c.n_heads) * u(c.head_dim), kv_heads = u(c.n_kv_heads) * u(c.head_dim);
  const uint64_t wide = std::max(u(c.d_model), heads);
  const uint64_t rows = u(c.d_model) + 2 * wide + heads + 2 * kv_heads + u(std::max(c.d_ff, c.n_experts)) + u(c.d_ff);
  const uint64_t experts = c.n_experts > 0 ? 2 * u(c.d_model) + 2 : 0;
  const uint64_t input = std::max(wide, u(c.d_ff));
  return 4 * (rows + experts + input) * u(batch_tokens);
}

uint64_t logits_of(const ModelConfig& c) { return 4 * u(kLogitRows) * (u(c.n_vocab) + 2 * u(kernels::kMostTop) + 2); }

// What attention keeps until its parts are joined, and rows on their way from or to the host: of a layer, those of a
// long leaf, or several layers.
uint64_t workspace_of_card(const ModelConfig& c, kernels::DType kv, int n_tokens) {
  constexpr int kLongLeaf = 4096;
  const uint64_t partial = 4 * u(kernels::kSameBits) * u(kernels::kMostKeySplits) * u(c.n_heads) * u(c.head_dim + 2);
  const uint64_t layer_rows =
      2 * kernels::kv_row_bytes(kv, c.head_dim) * u(c.n_kv_heads) * u(std::min(n_tokens, kLongLeaf));
  return partial + std::min(std::max(uint64_t{KvStore::kStagedBytes}, layer_rows), u(c.n_layers) * layer_rows);
}

}  // namespace

ModelNeeds needs_on_processor(const ModelConfig& c, kernels::DType kv, int n_tokens, int batch_tokens) {
  ModelNeeds needs;
  needs.layer_bytes = c.layer_bytes;
  needs.kv_bytes = KvStore::bytes_of(c, kv, n_tokens);
  for (uint64_t& bytes : needs.layer_bytes) bytes += needs.kv_bytes / u(c.n_layers);
  needs.logit_bytes = logits_of(c);
  needs.output_bytes = c.output_bytes + needs.logit_bytes;
  needs.workspace_bytes = workspace_of(c, batch_tokens);
  return needs;
}

ModelNeeds needs_on_card(const ModelConfig& c, kernels::DType kv, int n_tokens, int batch_tokens) {
  ModelNeeds needs = needs_on_processor(c, kv, n_tokens, batch_tokens);
  needs.workspace_bytes += workspace_of_card(c, kv, n_tokens);
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
