#include "engine/transformer/transformer.h"

#include <algorithm>
#include <cmath>

namespace longleaf {

using kernels::Backend;
using kernels::Buffer;
using kernels::DevicePtr;
using kernels::Span;

namespace {

void finish_logits(const ModelConfig& c, std::span<float> logits) {
  if (c.logit_scale != 1.0f)
    for (float& x : logits) x *= c.logit_scale;
  if (c.logit_soft_cap > 0)
    for (float& x : logits) x = c.logit_soft_cap * std::tanh(x / c.logit_soft_cap);
}

constexpr int kLogitRows = 16;  // tokens whose logits are computed together

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
  LL_RETURN_IF_ERROR(rows(positions_, 1));
  LL_RETURN_IF_ERROR(rows(hidden_, c.d_model));
  LL_RETURN_IF_ERROR(rows(normed_, std::max(c.d_model, c.n_heads * c.head_dim)));
  LL_RETURN_IF_ERROR(rows(q_, int64_t{c.n_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(k_, int64_t{c.n_kv_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(v_, int64_t{c.n_kv_heads} * c.head_dim));
  LL_RETURN_IF_ERROR(rows(heads_, std::max(c.d_model, c.n_heads * c.head_dim)));
  LL_RETURN_IF_ERROR(rows(gate_, std::max(c.d_ff, c.n_experts)));
  LL_RETURN_IF_ERROR(rows(up_, c.d_ff));
  if (c.n_experts > 0) {
    LL_RETURN_IF_ERROR(rows(expert_in_, c.d_model));
    LL_RETURN_IF_ERROR(rows(expert_out_, c.d_model));
    LL_RETURN_IF_ERROR(rows(expert_rows_, 1));
    LL_RETURN_IF_ERROR(rows(expert_weights_, 1));
  }
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
  LL_RETURN_IF_ERROR(b.upload(b.self, positions_.data(), positions.data(), positions.size() * 4));
  LL_RETURN_IF_ERROR(b.embed(b.self, model_->embedding(), tokens.data(), n, hidden_.data()));
  if (const float factor = model_->config().embedding_scale; factor != 1.0f)
    LL_RETURN_IF_ERROR(b.scale(b.self, hidden_.data(), factor, int64_t{n} * model_->config().d_model));
  const int depth = strategy.depth(model_->config().n_layers);
  for (int i = 0; i < depth; ++i) {
    if (stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
    LL_RETURN_IF_ERROR(layer(i, n, first_key, store, strategy));
    if (tap) LL_RETURN_IF_ERROR(tap(i, hidden_.data(), n));
  }
  return {};
}

Status Transformer::layer(int index, int n, int first_key, KvStore& store, const Strategy& strategy) {
  const LayerWeights& w = model_->layers()[static_cast<size_t>(index)];
  LL_RETURN_IF_ERROR(norm_before(w.attn_norm, n));
  LL_RETURN_IF_ERROR(attention(index, n, first_key, store, strategy));
  LL_RETURN_IF_ERROR(multiply({{w.wo, nullptr, normed_.data()}}, heads_, n));
  LL_RETURN_IF_ERROR(add_to_hidden(w.attn_post_norm, n));

  LL_RETURN_IF_ERROR(norm_before(w.ffn_norm, n));
  LL_RETURN_IF_ERROR(w.experts.empty() ? feed_forward(w, n) : experts(w, n));
  return add_to_hidden(w.ffn_post_norm, n);
}

// hidden → normed, through the norm where there is one.
Status Transformer::norm_before(DevicePtr weight, int n) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  if (weight != nullptr) return b.rms_norm(b.self, hidden_.data(), weight, c.norm_eps, n, c.d_model, normed_.data());
  const int64_t width = int64_t{n} * c.d_model;
  LL_RETURN_IF_ERROR(b.scale(b.self, normed_.data(), 0.0f, width));
  return b.add(b.self, normed_.data(), hidden_.data(), 1.0f, width);
}

// hidden += what the part of the layer left in normed, through the norm where there is one.
Status Transformer::add_to_hidden(DevicePtr weight, int n) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  if (weight != nullptr)
    LL_RETURN_IF_ERROR(b.rms_norm(b.self, normed_.data(), weight, c.norm_eps, n, c.d_model, normed_.data()));
  return b.add(b.self, hidden_.data(), normed_.data(), c.residual_scale, int64_t{n} * c.d_model);
}

// normed → normed.
Status Transformer::feed_forward(const LayerWeights& w, int n) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  LL_RETURN_IF_ERROR(multiply({{w.w_gate, nullptr, gate_.data()}, {w.w_up, nullptr, up_.data()}}, normed_, n));
  LL_RETURN_IF_ERROR(b.gate(b.self, c.architecture->activation, gate_.data(), up_.data(), int64_t{n} * c.d_ff));
  return multiply({{w.w_down, nullptr, normed_.data()}}, gate_, n);
}

// Q or K: normalised as the architecture wants, then rotated.
Status Transformer::finish_heads(Buffer& heads, DevicePtr weight, int n_heads, RopeKind kind, int n) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  if (weight != nullptr) {
    const bool whole = c.architecture->qk_norm == QkNorm::Whole;
    const int rows = whole ? n : n * n_heads, cols = whole ? n_heads * c.head_dim : c.head_dim;
    LL_RETURN_IF_ERROR(b.rms_norm(b.self, heads.data(), weight, c.norm_eps, rows, cols, heads.data()));
  }
  if (kind == RopeKind::None) return {};
  return b.rope(b.self, {heads.data(), positions_.data(), model_->inv_freq(kind), n, n_heads, c.head_dim, c.rope_dims,
                         c.rope_style, c.rope_magnitude});
}

Status Transformer::attention(int index, int n, int first_key, KvStore& store, const Strategy& strategy) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  const LayerWeights& w = model_->layers()[static_cast<size_t>(index)];
  const LayerConfig& layer = c.layers[static_cast<size_t>(index)];
  LL_RETURN_IF_ERROR(multiply({{w.wq, w.bq, q_.data()}, {w.wk, w.bk, k_.data()}, {w.wv, w.bv, v_.data()}}, normed_, n));
  LL_RETURN_IF_ERROR(finish_heads(q_, w.q_norm, c.n_heads, layer.rope, n));
  LL_RETURN_IF_ERROR(finish_heads(k_, w.k_norm, c.n_kv_heads, layer.rope, n));
  LL_RETURN_IF_ERROR(b.kv_write(b.self, {store.view(index), k_.data(), v_.data(), kernels::DType::F32, n, first_key}));

  const Phase phase = n == 1 ? Phase::Decode : Phase::Prefill;
  LL_RETURN_IF_ERROR(upload_plan(strategy.attend(index, phase, {first_key, n}, store), first_key,
                                 layer.window > 0 ? std::span(store.positions()) : std::span<const int32_t>()));
  kernels::SpanAttentionArgs args;
  args.q = q_.data();
  args.out = heads_.data();
  args.kv = store.view(index);
  args.n_tokens = n;
  args.n_heads = c.n_heads;
  args.first_key = first_key;
  args.spans = spans_.data();
  args.group_begin = groups_.data();
  args.n_groups = static_cast<int>(sent_begins_.size()) - 1;
  args.inv_freq = model_->inv_freq(layer.rope);
  args.rope_dims = layer.rope == RopeKind::None ? 0 : c.rope_dims;
  args.rope_style = c.rope_style;
  args.scale = c.attention_scale;
  args.soft_cap = c.attention_soft_cap;
  args.window = layer.window;
  args.positions = positions_.data();
  return b.span_attention(b.self, args);
}

Status Transformer::multiply(std::initializer_list<kernels::Product> products, const Buffer& x, int n) {
  const Backend& b = model_->backend();
  return b.matmul(b.self, {products.begin(), products.size()}, x.data(), n);
}

Status Transformer::upload_plan(const AttentionPlan& plan, int first_key, std::span<const int32_t> positions) {
  const Backend& b = model_->backend();
  assert(!plan.groups.empty() && model_->config().n_kv_heads % static_cast<int>(plan.groups.size()) == 0);
  std::vector<Span> spans;
  std::vector<int32_t> begins = {0};
  for (const auto& group : plan.groups) {
    const auto merged = merge_spans(group, first_key, positions);
    spans.insert(spans.end(), merged.begin(), merged.end());
    begins.push_back(static_cast<int32_t>(spans.size()));
  }
  // Layers see the same plan, but for windows: what the device has already is not sent again.
  if (spans == sent_spans_ && begins == sent_begins_) return {};
  sent_begins_.clear();  // until it is there
  LL_RETURN_IF_ERROR(grow(spans_, b, std::max<size_t>(spans.size(), 64) * sizeof(Span)));
  LL_RETURN_IF_ERROR(grow(groups_, b, begins.size() * 4));
  LL_RETURN_IF_ERROR(b.upload(b.self, spans_.data(), spans.data(), spans.size() * sizeof(Span)));
  LL_RETURN_IF_ERROR(b.upload(b.self, groups_.data(), begins.data(), begins.size() * 4));
  sent_spans_ = std::move(spans);
  sent_begins_ = std::move(begins);
  return {};
}

Status Transformer::read_logits(int n_tokens, Want want, std::vector<float>& logits) {
  const ModelConfig& c = model_->config();
  const Backend& b = model_->backend();
  const auto width = static_cast<size_t>(c.d_model) * 4, row = static_cast<size_t>(c.n_vocab);
  for (int first = want == Want::AllLogits ? 0 : n_tokens - 1; first < n_tokens; first += kLogitRows) {
    const int n = std::min(kLogitRows, n_tokens - first);
    const DevicePtr hidden = kernels::at(hidden_.data(), static_cast<size_t>(first) * width);
    LL_RETURN_IF_ERROR(b.rms_norm(b.self, hidden, model_->output_norm(), c.norm_eps, n, c.d_model, normed_.data()));
    LL_RETURN_IF_ERROR(grow(logits_, b, static_cast<size_t>(n) * row * 4));
    LL_RETURN_IF_ERROR(multiply({{model_->output(), nullptr, logits_.data()}}, normed_, n));
    const size_t before = logits.size();
    logits.resize(before + static_cast<size_t>(n) * row);
    LL_RETURN_IF_ERROR(b.download(b.self, logits.data() + before, logits_.data(), static_cast<size_t>(n) * row * 4));
    finish_logits(c, std::span(logits).subspan(before));
  }
  return {};
}

}  // namespace longleaf
