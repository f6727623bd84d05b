#include "engine/transformer/stage.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

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

// `n` numbers of the device's memory, behind what there is.
template <typename T>
Status append_from(const Backend& b, DevicePtr from, size_t n, std::vector<T>& to) {
  to.resize(to.size() + n);
  return b.download(b.self, to.data() + to.size() - n, from, n * sizeof(T));
}

template <typename T>
void append_copy(const uint8_t* from, size_t n, std::vector<T>& to) {
  to.resize(to.size() + n);
  std::memcpy(to.data() + to.size() - n, from, n * sizeof(T));
}

const LayerAdditions kNothing{};

}  // namespace

Result<std::unique_ptr<Stage>> Stage::create(const Model& model, size_t share, int batch_tokens) {
  std::unique_ptr<Stage> stage(new Stage(model, share));
  LL_RETURN_IF_ERROR(stage->allocate(batch_tokens));
  return stage;
}

Stage::Stage(const Model& model, size_t share)
    : model_(model), share_(share), backend_(*model.placement()[share].backend) {
  for (size_t i = 0; i < share; ++i) first_layer_ += model.placement()[i].n_layers;
  end_layer_ = first_layer_ + model.placement()[share].n_layers;
}

Status Stage::grow(Buffer& buffer, const Backend& backend, size_t bytes) {
  if (buffer.bytes() >= bytes) return {};
  auto next = Buffer::allocate(backend, bytes);
  if (!next.ok()) return next.status();
  buffer = std::move(*next);
  return {};
}

Status Stage::allocate(int batch_tokens) {
  const ModelConfig& c = model_.config();
  const auto rows = [&](Buffer& buffer, int64_t width) {
    return grow(buffer, backend_, static_cast<size_t>(width * batch_tokens) * 4);
  };
  LL_RETURN_IF_ERROR(grow(keys_, backend_, (static_cast<size_t>(batch_tokens) + 1) * sizeof(int32_t)));
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
  if (end_layer_ < c.n_layers) return {};
  constexpr size_t kBestBytes = kLogitRows * (kernels::kMostTop * (sizeof(TokenId) + sizeof(float)) + sizeof(double));
  LL_RETURN_IF_ERROR(grow(logits_, backend_, kLogitRows * static_cast<size_t>(c.n_vocab) * sizeof(float)));
  return grow(best_, backend_, kBestBytes);
}

Status Stage::embed(const Input& input) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  const auto n = static_cast<int>(input.tokens.size());
  std::vector<TokenId> ids(input.tokens.begin(), input.tokens.end());
  std::replace(ids.begin(), ids.end(), kVector, TokenId{0});
  LL_RETURN_IF_ERROR(b.embed(b.self, model_.embedding(), ids.data(), n, hidden_.data()));
  LL_RETURN_IF_ERROR(model_.file().check());
  if (c.embedding_scale != 1.0f)
    LL_RETURN_IF_ERROR(b.scale(b.self, hidden_.data(), c.embedding_scale, int64_t{n} * c.d_model));
  const auto width = static_cast<size_t>(c.d_model);
  const float* vector = input.vectors.data();
  for (size_t i = 0; i < ids.size(); ++i) {
    if (input.tokens[i] != kVector) continue;
    LL_RETURN_IF_ERROR(b.upload(b.self, kernels::at(hidden_.data(), i * width * 4), vector, width * 4));
    vector += width;
  }
  return {};
}

Status Stage::receive(std::span<const float> hidden) {
  return backend_.upload(backend_.self, hidden_.data(), hidden.data(), hidden.size_bytes());
}

Status Stage::send(std::span<float> hidden) const {
  return backend_.download(backend_.self, hidden.data(), hidden_.data(), hidden.size_bytes());
}

Stage::~Stage() { forget_recordings(); }

Status Stage::run(const Pass& pass, int depth) {
  const int end = std::min(depth, end_layer_);
  LL_RETURN_IF_ERROR(send_inputs(pass, end));
  const bool is_plain = !pass.tap && model_.config().n_experts == 0;  // experts are chosen by what a pass computes
  if (records_ && is_plain && backend_.record != nullptr && pass.n_tokens() <= kernels::kSameBits)
    return compute_recorded(pass, end);
  return compute(pass, end);
}

Status Stage::compute(const Pass& pass, int end) {
  const Backend& b = backend_;
  const auto& layers = model_.layers();
  LL_RETURN_IF_ERROR(norm_before(layers[static_cast<size_t>(first_layer_)].attn_norm, pass.n_tokens()));
  for (int i = first_layer_; i < end; ++i) {
    if (pass.stop.stop_requested()) return Status(Code::Cancelled, "Stopped");
    LL_RETURN_IF_ERROR(layer(i, i + 1 < end ? &layers[static_cast<size_t>(i) + 1] : nullptr, pass));
    if (pass.tap) LL_RETURN_IF_ERROR(pass.tap(i, b, hidden_.data(), pass.n_tokens()));
  }
  return {};
}

// normed → normed, which is the next layer's input where there is one, and hidden behind this one.
Status Stage::layer(int index, const LayerWeights* next, const Pass& pass) {
  const LayerWeights& w = model_.layers()[static_cast<size_t>(index)];
  const Additions* additions = pass.strategy.additions();
  const LayerAdditions& a = additions == nullptr ? kNothing : additions->layer(index);
  const int n = pass.n_tokens();
  LL_RETURN_IF_ERROR(attention(index, a, pass));
  LL_RETURN_IF_ERROR(multiply({{{w.wo, nullptr, normed_.data()}, a.wo}}, heads_, n));
  LL_RETURN_IF_ERROR(add_and_norm(w.attn_post_norm, w.ffn_norm, n));
  LL_RETURN_IF_ERROR(w.experts.empty() ? feed_forward(w, a, n) : experts(w, a, n));
  return next == nullptr ? add_to_hidden(w.ffn_post_norm, n) : add_and_norm(w.ffn_post_norm, next->attn_norm, n);
}

// hidden → normed, through the norm where there is one.
Status Stage::norm_before(DevicePtr weight, int n) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  if (weight != nullptr) return b.rms_norm(b.self, hidden_.data(), weight, c.norm_eps, n, c.d_model, normed_.data());
  const int64_t width = int64_t{n} * c.d_model;
  LL_RETURN_IF_ERROR(b.scale(b.self, normed_.data(), 0.0f, width));
  return b.add(b.self, normed_.data(), hidden_.data(), 1.0f, width);
}

// normed → normed, through the norm behind a part where there is one.
Status Stage::norm_behind(DevicePtr weight, int n) {
  if (weight == nullptr) return {};
  const ModelConfig& c = model_.config();
  return backend_.rms_norm(backend_.self, normed_.data(), weight, c.norm_eps, n, c.d_model, normed_.data());
}

// hidden += what the part of the layer left in normed.
Status Stage::add_to_hidden(DevicePtr weight, int n) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  LL_RETURN_IF_ERROR(norm_behind(weight, n));
  return b.add(b.self, hidden_.data(), normed_.data(), c.residual_scale, int64_t{n} * c.d_model);
}

// What a part left, added to hidden, and the input of the next in normed.
Status Stage::add_and_norm(DevicePtr post_weight, DevicePtr next_weight, int n) {
  if (next_weight == nullptr) {
    LL_RETURN_IF_ERROR(add_to_hidden(post_weight, n));
    return norm_before(nullptr, n);
  }
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  LL_RETURN_IF_ERROR(norm_behind(post_weight, n));
  return b.add_rms_norm(b.self, hidden_.data(), normed_.data(), c.residual_scale, next_weight, c.norm_eps, n, c.d_model,
                        normed_.data());
}

// normed → normed.
Status Stage::feed_forward(const LayerWeights& w, const LayerAdditions& a, int n) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  LL_RETURN_IF_ERROR(
      multiply({{{w.w_gate, nullptr, gate_.data()}, a.w_gate}, {{w.w_up, nullptr, up_.data()}, a.w_up}}, normed_, n));
  LL_RETURN_IF_ERROR(b.gate(b.self, c.architecture->activation, gate_.data(), up_.data(), int64_t{n} * c.d_ff));
  return multiply({{{w.w_down, nullptr, normed_.data()}, a.w_down}}, gate_, n);
}

// Q or K: normalised as the architecture wants, then rotated.
Status Stage::finish_heads(Buffer& heads, DevicePtr weight, int n_heads, RopeKind kind, int n) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  if (weight != nullptr) {
    const bool whole = c.architecture->qk_norm == QkNorm::Whole;
    const int rows = whole ? n : n * n_heads, cols = whole ? n_heads * c.head_dim : c.head_dim;
    LL_RETURN_IF_ERROR(b.rms_norm(b.self, heads.data(), weight, c.norm_eps, rows, cols, heads.data()));
  }
  if (kind == RopeKind::None) return {};
  return b.rope(b.self, {heads.data(), positions(), model_.inv_freq(share_, kind), n, n_heads, c.head_dim, c.rope_dims,
                         c.rope_style, c.rope_magnitude});
}

// normed → heads.
Status Stage::attention(int index, const LayerAdditions& a, const Pass& pass) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  const int n = pass.n_tokens();
  const LayerWeights& w = model_.layers()[static_cast<size_t>(index)];
  const LayerConfig& layer = c.layers[static_cast<size_t>(index)];
  LL_RETURN_IF_ERROR(multiply(
      {{{w.wq, w.bq, q_.data()}, a.wq}, {{w.wk, w.bk, k_.data()}, a.wk}, {{w.wv, w.bv, v_.data()}, a.wv}}, normed_, n));
  LL_RETURN_IF_ERROR(finish_heads(q_, w.q_norm, c.n_heads, layer.rope, n));
  LL_RETURN_IF_ERROR(finish_heads(k_, w.k_norm, c.n_kv_heads, layer.rope, n));
  LL_RETURN_IF_ERROR(
      b.kv_write(b.self, {pass.store.view(index), k_.data(), v_.data(), kernels::DType::F32, n, 0, 1, 0, first_key()}));
  for (size_t block = 0; block < blocks_.size(); ++block)
    LL_RETURN_IF_ERROR(attend(index, block, blocks_[block], pass));
  return {};
}

// What the queries of a block see, to their places in heads.
Status Stage::attend(int index, size_t block, QueryBlock queries, const Pass& pass) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  const KvStore& store = pass.store;
  const LayerConfig& layer = c.layers[static_cast<size_t>(index)];
  const uint32_t plan = plan_of_[static_cast<size_t>(index - first_layer_) * blocks_.size() + block];
  const auto first = static_cast<size_t>(queries.first_key - pass.first_key);  // in the batch
  const size_t row = first * static_cast<size_t>(c.n_heads) * static_cast<size_t>(c.head_dim) * 4;
  kernels::SpanAttentionArgs args;
  args.q = kernels::at(q_.data(), row);
  args.out = kernels::at(heads_.data(), row);
  args.kv = store.view(index);
  args.n_tokens = queries.n_tokens;
  args.n_heads = c.n_heads;
  args.first_key = static_cast<int>(first);
  args.base_key = first_key();
  args.spans = kernels::at(spans_.data(), plan * spans_stride_ * sizeof(Span));
  args.group_begin = kernels::at(groups_.data(), plan * begins_stride_ * sizeof(int32_t));
  args.n_groups = static_cast<int>(plans_[plan].begins.size()) - 1;
  args.inv_freq = model_.inv_freq(share_, layer.rope);
  args.rope_dims = layer.rope == RopeKind::None ? 0 : c.rope_dims;
  args.rope_style = c.rope_style;
  args.scale = c.attention_scale;
  args.soft_cap = c.attention_soft_cap;
  args.window = layer.window;
  args.positions = kernels::at(positions(), first * sizeof(int32_t));
  return b.span_attention(b.self, args);
}

Status Stage::multiply(std::initializer_list<Linear> linears, const Buffer& x, int n) {
  const Backend& b = backend_;
  std::array<kernels::Product, 3> products;
  assert(linears.size() <= products.size());
  std::transform(linears.begin(), linears.end(), products.begin(), [](const Linear& l) { return l.product; });
  LL_RETURN_IF_ERROR(b.matmul(b.self, {products.data(), linears.size()}, x.data(), n));
  for (const Linear& linear : linears)
    if (linear.addition.rank() > 0) LL_RETURN_IF_ERROR(add_low_rank(linear, x, n));
  return {};
}

Status Stage::add_low_rank(const Linear& linear, const Buffer& x, int n) {
  const Backend& b = backend_;
  const int rows = linear.product.w.rows;
  LL_RETURN_IF_ERROR(grow(low_, b, static_cast<size_t>(n) * static_cast<size_t>(linear.addition.rank()) * 4));
  LL_RETURN_IF_ERROR(grow(added_, b, static_cast<size_t>(n) * static_cast<size_t>(rows) * 4));
  const kernels::Product down{linear.addition.a, nullptr, low_.data()}, up{linear.addition.b, nullptr, added_.data()};
  LL_RETURN_IF_ERROR(b.matmul(b.self, {&down, 1}, x.data(), n));
  LL_RETURN_IF_ERROR(b.matmul(b.self, {&up, 1}, low_.data(), n));
  return b.add(b.self, linear.product.out, added_.data(), 1, int64_t{n} * rows);
}

// Of tokens [first, first + n_tokens) of the batch, to logits_; not scaled or capped yet.
Status Stage::compute_logits(int first, int n) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  const DevicePtr hidden = kernels::at(hidden_.data(), static_cast<size_t>(first) * static_cast<size_t>(c.d_model) * 4);
  LL_RETURN_IF_ERROR(b.rms_norm(b.self, hidden, model_.output_norm(), c.norm_eps, n, c.d_model, normed_.data()));
  const kernels::Product product{model_.output(), nullptr, logits_.data()};
  return b.matmul(b.self, {&product, 1}, normed_.data(), n);
}

Status Stage::read_logits(int n_tokens, Want want, std::vector<float>& logits) {
  const ModelConfig& c = model_.config();
  for (int first = want == Want::AllLogits ? 0 : n_tokens - 1; first < n_tokens; first += kLogitRows) {
    const int n = std::min(kLogitRows, n_tokens - first);
    LL_RETURN_IF_ERROR(compute_logits(first, n));
    const size_t more = static_cast<size_t>(n) * static_cast<size_t>(c.n_vocab);
    LL_RETURN_IF_ERROR(append_from(backend_, logits_.data(), more, logits));
    finish_logits(c, std::span(logits).last(more));
  }
  return {};
}

// Of logits as they are: see Transformer::has_best.
Status Stage::read_best(int n_tokens, std::vector<TokenId>& best) {
  const Backend& b = backend_;
  for (int first = 0; first < n_tokens; first += kLogitRows) {
    const int n = std::min(kLogitRows, n_tokens - first);
    LL_RETURN_IF_ERROR(compute_logits(first, n));
    LL_RETURN_IF_ERROR(b.best(b.self, logits_.data(), n, model_.config().n_vocab, best_.data()));
    LL_RETURN_IF_ERROR(append_from(b, best_.data(), static_cast<size_t>(n), best));
  }
  return {};
}

// What is found lies side by side, so that one copy brings it all: a copy waits for the device.
Status Stage::read_top(int n_tokens, float temperature, BestLogits& best) {
  const ModelConfig& c = model_.config();
  const Backend& b = backend_;
  std::vector<uint8_t> found;
  for (int first = 0; first < n_tokens; first += kLogitRows) {
    const int rows = std::min(kLogitRows, n_tokens - first);
    const auto n = static_cast<size_t>(rows * best.k), n_rows = static_cast<size_t>(rows);
    const size_t ids = n_rows * sizeof(double), logits = ids + n * sizeof(TokenId);
    LL_RETURN_IF_ERROR(compute_logits(first, rows));
    LL_RETURN_IF_ERROR(b.top(b.self, {logits_.data(), kernels::at(best_.data(), logits), kernels::at(best_.data(), ids),
                                      best_.data(), rows, c.n_vocab, best.k, temperature / c.logit_scale}));
    found.clear();
    LL_RETURN_IF_ERROR(append_from(b, best_.data(), logits + n * sizeof(float), found));
    append_copy(found.data(), n_rows, best.sums);
    append_copy(found.data() + ids, n, best.ids);
    append_copy(found.data() + logits, n, best.logits);
    finish_logits(c, std::span(best.logits).last(n));
  }
  return {};
}

Status Stage::read_row(int row, std::vector<float>& logits) const {
  const ModelConfig& c = model_.config();
  const auto n = static_cast<size_t>(c.n_vocab);
  logits.clear();
  LL_RETURN_IF_ERROR(
      append_from(backend_, kernels::at(logits_.data(), static_cast<size_t>(row) * n * sizeof(float)), n, logits));
  finish_logits(c, logits);
  return {};
}

}  // namespace longleaf
