#include "engine/transformer/transformer.h"

#include <algorithm>
#include <cmath>

namespace longleaf {

using kernels::Backend;
using kernels::Buffer;
using kernels::DevicePtr;
using kernels::Span;

namespace {

Status grow(Buffer& buffer, const Backend& backend, size_t bytes) {
  if (buffer.bytes() >= bytes) return {};
  auto next = Buffer::allocate(backend, bytes);
  if (!next.ok()) return next.status();
  buffer = std::move(*next);
  return {};
}

}  // namespace

Result<std::unique_ptr<Transformer>> Transformer::create(std::shared_ptr<const Model> model) {
  std::unique_ptr<Transformer> transformer(new Transformer(std::move(model)));
  LL_RETURN_IF_ERROR(transformer->allocate());
  return transformer;
}

Status Transformer::allocate() {
  const ModelConfig& c = model_->config();
  const Backend& backend = model_->backend();
  const auto rows = [&](Buffer& buffer, int64_t width) {
    return grow(buffer, backend, static_cast<size_t>(width * kBatchTokens) * 4);
  };
  LL_RETURN_IF_ERROR(rows(ids_, 1));
  LL_RETURN_IF_ERROR(rows(positions_, 1));
  LL_RETURN_IF_ERROR(rows(hidden_, c.d_model));
  LL_RETURN_IF_ERROR(rows(normed_, std::max(c.d_model, c.n_heads * c.head_dim)));
  LL_RETURN_IF_ERROR(rows(q_, int64_t{c.n_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(k_, int64_t{c.n_kv_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(v_, int64_t{c.n_kv_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(heads_, int64_t{c.n_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(gate_, c.d_ff));
  LL_RETURN_IF_ERROR(rows(up_, c.d_ff));
  return grow(logits_, backend, static_cast<size_t>(c.n_vocab) * 4);
}

Status Transformer::forward(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy, Want want,
                            std::vector<float>* logits, std::stop_token stop, const LayerTap& tap) {
  assert(!tokens.empty());
  const int before = store.size();
  if (logits != nullptr) logits->clear();
  for (size_t begin = 0; begin < tokens.size(); begin += kBatchTokens) {
    const auto part = tokens.subspan(begin, std::min<size_t>(kBatchTokens, tokens.size() - begin));
    Status status = append_batch(part, store, strategy, stop, tap);
    const bool last = begin + part.size() == tokens.size();
    if (status.ok() && (want == Want::AllLogits || (want == Want::LastLogits && last)))
      status = read_logits(static_cast<int>(part.size()), want, *logits);
    if (!status.ok()) {
      store.truncate(before);
      return status;
    }
  }
  return {};
}

Status Transformer::append_batch(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy,
                                 std::stop_token stop, const LayerTap& tap) {
  const int first_key = store.size();
  std::vector<int32_t> positions(tokens.size());
  strategy.positions(store, positions);
  LL_RETURN_IF_ERROR(store.append(positions));
  return run_layers(tokens, first_key, store, strategy, std::move(stop), tap);
}

Status Transformer::recompute(std::span<const TokenId> tokens, int first_key, KvStore& store, const Strategy& strategy,
                              std::stop_token stop) {
  assert(first_key >= 0 && first_key + static_cast<int>(tokens.size()) <= store.size());
  for (size_t begin = 0; begin < tokens.size(); begin += kBatchTokens) {
    const auto part = tokens.subspan(begin, std::min<size_t>(kBatchTokens, tokens.size() - begin));
    LL_RETURN_IF_ERROR(run_layers(part, first_key + static_cast<int>(begin), store, strategy, stop, nullptr));
  }
  return {};
}

Status Transformer::run_layers(std::span<const TokenId> tokens, int first_key, KvStore& store, const Strategy& strategy,
                               std::stop_token stop, const LayerTap& tap) {
  const Backend& b = model_->backend();
  const auto n = static_cast<int>(tokens.size());
  const auto positions = std::span(store.positions()).subspan(static_cast<size_t>(first_key), tokens.size());
  LL_RETURN_IF_ERROR(b.upload(b.self, ids_.data(), tokens.data(), tokens.size() * 4));
  LL_RETURN_IF_ERROR(b.upload(b.self, positions_.data(), positions.data(), positions.size() * 4));
  LL_RETURN_IF_ERROR(b.embed(b.self, model_->embedding(), ids_.data(), n, hidden_.data()));
  const int depth = strategy.depth(model_->config().n_layers);
  for (int i = 0; i < depth; ++i) {
    if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
    LL_RETURN_IF_ERROR(layer(i, n, first_key, store, strategy));
    if (tap) LL_RETURN_IF_ERROR(tap(i, hidden_.data(), n));
  }
  return {};
}

Status Transformer::layer(int index, int n, int first_key, KvStore& store, const Strategy& strategy) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  const LayerWeights& w = model_->layers()[static_cast<size_t>(index)];
  const int64_t width = int64_t{n} * c.d_model;
  LL_RETURN_IF_ERROR(b.rms_norm(b.self, hidden_.data(), w.attn_norm, c.rms_eps, n, c.d_model, normed_.data()));
  LL_RETURN_IF_ERROR(attention(index, n, first_key, store, strategy));
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.wo, nullptr, heads_.data(), n, normed_.data()));
  LL_RETURN_IF_ERROR(b.add(b.self, hidden_.data(), normed_.data(), width));

  LL_RETURN_IF_ERROR(b.rms_norm(b.self, hidden_.data(), w.ffn_norm, c.rms_eps, n, c.d_model, normed_.data()));
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.w_gate, nullptr, normed_.data(), n, gate_.data()));
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.w_up, nullptr, normed_.data(), n, up_.data()));
  LL_RETURN_IF_ERROR(b.silu_mul(b.self, gate_.data(), up_.data(), int64_t{n} * c.d_ff));
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.w_down, nullptr, gate_.data(), n, normed_.data()));
  return b.add(b.self, hidden_.data(), normed_.data(), width);
}

Status Transformer::attention(int index, int n, int first_key, KvStore& store, const Strategy& strategy) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  const LayerWeights& w = model_->layers()[static_cast<size_t>(index)];
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.wq, w.bq, normed_.data(), n, q_.data()));
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.wk, w.bk, normed_.data(), n, k_.data()));
  LL_RETURN_IF_ERROR(b.matmul(b.self, w.wv, w.bv, normed_.data(), n, v_.data()));
  kernels::RopeArgs rope{q_.data(), positions_.data(), model_->inv_freq(), n,
                         c.n_heads, c.head_dim,        c.rope_dims,        c.rope_style};
  LL_RETURN_IF_ERROR(b.rope(b.self, rope));
  rope.x = k_.data();
  rope.n_heads = c.n_kv_heads;
  LL_RETURN_IF_ERROR(b.rope(b.self, rope));
  LL_RETURN_IF_ERROR(b.kv_write(b.self, {store.view(index), k_.data(), v_.data(), kernels::DType::F32, n, first_key}));

  const Phase phase = n == 1 ? Phase::Decode : Phase::Prefill;
  LL_RETURN_IF_ERROR(upload_plan(strategy.attend(index, phase, {first_key, n}, store), first_key));
  kernels::SpanAttentionArgs args;
  args.q = q_.data();
  args.out = heads_.data();
  args.kv = store.view(index);
  args.n_tokens = n;
  args.n_heads = c.n_heads;
  args.first_key = first_key;
  args.spans = spans_.data();
  args.group_begin = groups_.data();
  args.n_groups = static_cast<int>(n_groups_);
  args.inv_freq = model_->inv_freq();
  args.rope_dims = c.rope_dims;
  args.rope_style = c.rope_style;
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
  return b.span_attention(b.self, args);
}

Status Transformer::upload_plan(const AttentionPlan& plan, int first_key) {
  const Backend& b = model_->backend();
  assert(!plan.groups.empty() && model_->config().n_kv_heads % static_cast<int>(plan.groups.size()) == 0);
  std::vector<Span> spans;
  std::vector<int32_t> begins = {0};
  for (const auto& group : plan.groups) {
    const auto merged = merge_spans(group, first_key);
    spans.insert(spans.end(), merged.begin(), merged.end());
    begins.push_back(static_cast<int32_t>(spans.size()));
  }
  n_groups_ = plan.groups.size();
  LL_RETURN_IF_ERROR(grow(spans_, b, std::max<size_t>(spans.size(), 64) * sizeof(Span)));
  LL_RETURN_IF_ERROR(grow(groups_, b, begins.size() * 4));
  LL_RETURN_IF_ERROR(b.upload(b.self, spans_.data(), spans.data(), spans.size() * sizeof(Span)));
  return b.upload(b.self, groups_.data(), begins.data(), begins.size() * 4);
}

Status Transformer::read_logits(int n_tokens, Want want, std::vector<float>& logits) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  const int first = want == Want::AllLogits ? 0 : n_tokens - 1;
  const auto row = static_cast<size_t>(c.n_vocab);
  for (int t = first; t < n_tokens; ++t) {
    const DevicePtr hidden = kernels::at(hidden_.data(), static_cast<size_t>(t) * static_cast<size_t>(c.d_model) * 4);
    LL_RETURN_IF_ERROR(b.rms_norm(b.self, hidden, model_->output_norm(), c.rms_eps, 1, c.d_model, normed_.data()));
    LL_RETURN_IF_ERROR(b.matmul(b.self, model_->output(), nullptr, normed_.data(), 1, logits_.data()));
    logits.resize(logits.size() + row);
    LL_RETURN_IF_ERROR(b.download(b.self, logits.data() + logits.size() - row, logits_.data(), row * 4));
  }
  return {};
}

}  // namespace longleaf
