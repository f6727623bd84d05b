// The forward pass of every decoder there is an Architecture for, over the devices its layers are placed on.
// Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/transformer/stage.h"

namespace longleaf {

class Transformer {
 public:
  // `model` is kept alive. Returns NoMemory.
  static Result<std::unique_ptr<Transformer>> create(std::shared_ptr<const Model> model);

  // Appends `input` to `store` and computes it. On any error or cancel the store is cut back to what it was.
  //   logits  resized to (n, n_vocab): one row for LastLogits, one per token for AllLogits; may be null for Nothing
  //   stop    looked at before every layer; Cancelled is returned then
  // REQUIRES: token ids below n_vocab, or kVector. Returns Invalid where there are none.
  Status forward(Input input, KvStore& store, const Strategy& strategy, Want want, std::vector<float>* logits,
                 std::stop_token stop = {}, const LayerTap& tap = nullptr);
  Status forward(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy, Want want,
                 std::vector<float>* logits, std::stop_token stop = {}, const LayerTap& tap = nullptr) {
    return forward(Input{tokens}, store, strategy, want, logits, std::move(stop), tap);
  }

  // As forward, but what is most likely behind each token is found where it is computed: `best` is resized to (n). Ties
  // go to the lower id, NaN is never taken. REQUIRES: has_best().
  Status forward_best(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy,
                      std::vector<TokenId>& best, std::stop_token stop = {});
  // As forward_best, but of each token the `best.k` best and what they share the mass with, at `temperature` above 0:
  // the other members of `best` are resized. REQUIRES: has_best().
  Status forward_top(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy, float temperature,
                     BestLogits& best, std::stop_token stop = {});
  // All logits behind a token of the last forward_top. REQUIRES: nothing was computed since; it was of no more than
  // kLogitRows tokens.
  Status read_row(int token, std::vector<float>& logits) const { return stages_.back()->read_row(token, logits); }
  // False for models that cap their logits, or scale them by what is no power of two: two may become equal, and then
  // the lower id is meant.
  bool has_best() const;

  // Computes tokens that are in `store` already once more, from key `first_key` on, and writes their keys and values
  // anew where they stand, rotated at their recorded positions. What is behind them is not touched.
  // An error or cancel leaves some layers rewritten: the store is then only fit for truncate(0).
  // REQUIRES: no run that is kept is among them.
  Status recompute(std::span<const TokenId> tokens, int first_key, KvStore& store, const Strategy& strategy,
                   std::stop_token stop = {});

  int batch_tokens() const { return batch_tokens_; }  // that are computed at once
  const Model& model() const { return *model_; }
  const std::shared_ptr<const Model>& shared_model() const { return model_; }

 private:
  explicit Transformer(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  Status allocate();
  Input split(Input& input, size_t most) const;
  // Batch by batch, and what is wanted behind each; is_last: there is none behind it.
  Status append(Input input, KvStore& store, const Strategy& strategy, const std::stop_token& stop, const LayerTap& tap,
                const std::function<Status(int n_tokens, bool is_last)>& behind);
  Status append_batch(const Input& input, KvStore& store, const Strategy& strategy, const std::stop_token& stop,
                      const LayerTap& tap);
  Status run_layers(const Input& input, const Pass& pass);

  std::shared_ptr<const Model> model_;
  std::vector<std::unique_ptr<Stage>> stages_;
  int batch_tokens_ = 0;
  std::vector<float> crossing_;  // hidden rows between two devices
};

}  // namespace longleaf
