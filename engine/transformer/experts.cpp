// The feed-forward part as a mixture of experts: softmax over the router's scores, the best few experts per token with
// their weights normalised to one (Qwen3 technical report, arXiv 2505.09388).
#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/transformer/experts.h"
#include "engine/transformer/stage.h"

namespace longleaf {
namespace {

using kernels::Backend;
using kernels::Buffer;

const LayerAdditions::Expert kNoExpert{};

struct Share {  // of one expert
  std::vector<int32_t> rows;
  std::vector<float> weights;
};

// Which tokens go to which expert. scores: (n_tokens, n_experts).
std::vector<Share> distribute(const std::vector<float>& scores, int n_tokens, int n_experts, int n_used) {
  std::vector<Share> shares(static_cast<size_t>(n_experts));
  const std::vector<int32_t> best = best_experts(scores, n_tokens, n_experts, n_used);
  for (int t = 0; t < n_tokens; ++t) {
    const float* row = scores.data() + int64_t{t} * n_experts;
    const std::span chosen = std::span(best).subspan(static_cast<size_t>(t * n_used), static_cast<size_t>(n_used));
    const auto weight = [&](int32_t expert) { return std::exp(double{row[expert]} - double{row[chosen[0]]}); };
    double total = 0;  // of the chosen: what the others would add to the softmax cancels out
    for (const int32_t expert : chosen) total += weight(expert);
    for (const int32_t expert : chosen) {
      shares[static_cast<size_t>(expert)].rows.push_back(t);
      shares[static_cast<size_t>(expert)].weights.push_back(static_cast<float>(weight(expert) / total));
    }
  }
  return shares;
}

}  // namespace

std::vector<int32_t> best_experts(std::span<const float> scores, int n_tokens, int n_experts, int n_used) {
  std::vector<int32_t> best, order(static_cast<size_t>(n_experts));
  for (int t = 0; t < n_tokens; ++t) {
    const float* row = scores.data() + int64_t{t} * n_experts;
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + n_used, order.end(),
                      [&](int a, int b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    best.insert(best.end(), order.begin(), order.begin() + n_used);
  }
  return best;
}

// normed → normed. Experts run in order of their number, so a token's sum does not depend on the batch.
Status Stage::experts(const LayerWeights& w, const LayerAdditions& a, int n) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  const kernels::Product scored{w.router, nullptr, gate_.data()};
  LL_RETURN_IF_ERROR(b.matmul(b.self, {&scored, 1}, normed_.data(), n));
  std::vector<float> scores(static_cast<size_t>(n) * static_cast<size_t>(c.n_experts));
  LL_RETURN_IF_ERROR(b.download(b.self, scores.data(), gate_.data(), scores.size() * 4));
  const auto shares = distribute(scores, n, c.n_experts, c.n_experts_used);

  LL_RETURN_IF_ERROR(b.scale(b.self, heads_.data(), 0.0f, int64_t{n} * c.d_model));
  for (size_t e = 0; e < shares.size(); ++e) {
    const auto rows = static_cast<int>(shares[e].rows.size());
    if (rows == 0) continue;
    const size_t bytes = shares[e].rows.size() * 4;
    LL_RETURN_IF_ERROR(b.upload(b.self, expert_rows_.data(), shares[e].rows.data(), bytes));
    LL_RETURN_IF_ERROR(b.upload(b.self, expert_weights_.data(), shares[e].weights.data(), bytes));
    LL_RETURN_IF_ERROR(b.gather_rows(b.self, normed_.data(), expert_rows_.data(), rows, c.d_model, expert_in_.data()));
    const LayerWeights::Expert& x = w.experts[e];
    const LayerAdditions::Expert& more = a.experts.empty() ? kNoExpert : a.experts[e];
    LL_RETURN_IF_ERROR(
        multiply({{{x.w_gate, nullptr, gate_.data()}, more.w_gate}, {{x.w_up, nullptr, up_.data()}, more.w_up}},
                 expert_in_, rows));
    LL_RETURN_IF_ERROR(b.gate(b.self, c.architecture->activation, gate_.data(), up_.data(), int64_t{rows} * c.d_ff));
    LL_RETURN_IF_ERROR(multiply({{{x.w_down, nullptr, expert_out_.data()}, more.w_down}}, gate_, rows));
    LL_RETURN_IF_ERROR(b.scatter_add(b.self, expert_out_.data(), expert_rows_.data(), expert_weights_.data(), rows,
                                     c.d_model, heads_.data()));
  }
  LL_RETURN_IF_ERROR(b.scale(b.self, normed_.data(), 0.0f, int64_t{n} * c.d_model));
  return b.add(b.self, normed_.data(), heads_.data(), 1.0f, int64_t{n} * c.d_model);
}

}  // namespace longleaf
