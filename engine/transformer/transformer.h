// The forward pass of every decoder there is an Architecture for: RMSNorm, rotary attention with grouped heads, gated
// feed-forward part or a mixture of experts.
// Not thread-safe: one thread owns it.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/kv_store.h"
#include "engine/transformer/strategy.h"

namespace longleaf {

// Called after a layer with the hidden rows of one batch: (n_tokens, d_model) f32 on the device, valid for the call.
using LayerTap = std::function<Status(int layer, kernels::DevicePtr hidden, int n_tokens)>;

enum class Want { Nothing, LastLogits, AllLogits };

class Transformer {
 public:
  // Tokens computed at once: whole tiles of the matrix products (12 with AVX-512), and activations stay in the cache.
  static constexpr int kBatchTokens = 252;

  // `model` is kept alive. Returns NoMemory.
  static Result<std::unique_ptr<Transformer>> create(std::shared_ptr<const Model> model);

  // Appends `tokens` to `store` and computes them. On any error or cancel the store is cut back to what it was.
  //   logits  resized to (n, n_vocab): one row for LastLogits, one per token for AllLogits; may be null for Nothing
  //   stop    looked at before every layer; Cancelled is returned then
  // REQUIRES: token ids below n_vocab; tokens is not empty.
  Status forward(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy, Want want,
                 std::vector<float>* logits, std::stop_token stop = {}, const LayerTap& tap = nullptr);

  // Computes tokens that are in `store` already once more, from key `first_key` on, and writes their keys and values
  // anew where they stand, rotated at their recorded positions. What is behind them is not touched.
  // An error or cancel leaves some layers rewritten: the store is then only fit for truncate(0).
  Status recompute(std::span<const TokenId> tokens, int first_key, KvStore& store, const Strategy& strategy,
                   std::stop_token stop = {});

  const Model& model() const { return *model_; }
  const std::shared_ptr<const Model>& shared_model() const { return model_; }

 private:
  explicit Transformer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  Status allocate();
  Status append_batch(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy, std::stop_token stop,
                      const LayerTap& tap);
  Status run_layers(std::span<const TokenId> tokens, int first_key, KvStore& store, const Strategy& strategy,
                    std::stop_token stop, const LayerTap& tap);
  Status layer(int index, int n_tokens, int first_key, KvStore& store, const Strategy& strategy);
  Status norm_before(kernels::DevicePtr weight, int n_tokens);
  Status add_to_hidden(kernels::DevicePtr weight, int n_tokens);
  Status feed_forward(const LayerWeights& w, int n_tokens);
  Status experts(const LayerWeights& w, int n_tokens);
  Status finish_heads(kernels::Buffer& heads, kernels::DevicePtr weight, int n_heads, RopeKind kind, int n_tokens);
  Status attention(int index, int n_tokens, int first_key, KvStore& store, const Strategy& strategy);
  Status multiply(std::initializer_list<kernels::Product> products, const kernels::Buffer& x, int n_tokens);
  Status upload_plan(const AttentionPlan& plan, int first_key, std::span<const int32_t> positions);
  Status read_logits(int n_tokens, Want want, std::vector<float>& logits);

  std::shared_ptr<const Model> model_;
  kernels::Buffer positions_, hidden_, normed_, q_, k_, v_, heads_, gate_, up_, logits_, spans_, groups_;
  kernels::Buffer expert_in_, expert_out_, expert_rows_, expert_weights_;  // one expert's share; allocated when used
  std::vector<kernels::Span> sent_spans_;  // the plan that the device has
  std::vector<int32_t> sent_begins_;
};

}  // namespace longleaf
