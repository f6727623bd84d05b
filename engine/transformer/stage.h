// The layers of a model that one device computes: RMSNorm, rotary attention with grouped heads, gated feed-forward part
// or a mixture of experts. A stage keeps the hidden rows of the batch that is computed.
// Not thread-safe: one thread owns it.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/additions.h"
#include "engine/transformer/kv_store.h"
#include "engine/transformer/strategy.h"

namespace longleaf {

// Called after a layer with the hidden rows of one batch: (n_tokens, d_model) f32 on the device that computed them,
// valid for the call.
using LayerTap =
    std::function<Status(int layer, const kernels::Backend& device, kernels::DevicePtr hidden, int n_tokens)>;

constexpr int kLogitRows = 16;  // tokens whose logits are computed together

enum class Want { Nothing, LastLogits, AllLogits };

// What a pass reads: tokens, and vectors among them that are no token's embedding.
constexpr TokenId kVector = -1;  // in the place of a token: the next of the vectors
struct Input {
  std::span<const TokenId> tokens;
  std::span<const float> vectors = {};  // as layers take them: (as many as there are kVector, d_model)
};

// The best of rows of logits: see kernels::TopArgs.
struct BestLogits {
  int k = 0;  // of each row
  std::vector<float> logits;
  std::vector<TokenId> ids;
  std::vector<double> sums;  // of exp((logit - best) / temperature) over a row; of no meaning for an infinite best
};

// A pass through layers, as it is asked for.
struct Pass {
  std::span<const int32_t> positions;  // of the batch's tokens
  int first_key = 0;                   // in the store, of the batch
  KvStore& store;
  const Strategy& strategy;
  const std::stop_token& stop;
  const LayerTap& tap;  // may be null
  int n_tokens() const { return static_cast<int>(positions.size()); }
};

class Stage {
 public:
  // Memory for batches of `batch_tokens` on the device of the model's share `share`. `model` must outlive the stage.
  // Returns NoMemory.
  static Result<std::unique_ptr<Stage>> create(const Model& model, size_t share, int batch_tokens);

  // Fills the hidden rows: with embeddings, or with what another stage sent. (n_tokens, d_model) f32 in host memory.
  Status embed(const Input& input);
  Status receive(std::span<const float> hidden);
  Status send(std::span<float> hidden) const;
  // Runs those of its layers that are below `depth`. Looks at the stop token before each: Cancelled.
  Status run(const Pass& pass, int depth);
  // Appends rows of logits to `logits`: the last token's, or all.
  Status read_logits(int n_tokens, Want want, std::vector<float>& logits);
  // Appends the most likely token behind each of the batch's; logits stay on the device.
  Status read_best(int n_tokens, std::vector<TokenId>& best);
  // Appends the k best behind each.
  Status read_top(int n_tokens, float temperature, BestLogits& best);
  // Of read_top's last call, all logits of a row. REQUIRES: it was of no more than kLogitRows tokens.
  Status read_row(int row, std::vector<float>& logits) const;

  int first_layer() const { return first_layer_; }
  ~Stage();

 private:
  Stage(const Model& model, size_t share);
  static Status grow(kernels::Buffer& buffer, const kernels::Backend& backend, size_t bytes);
  Status allocate(int batch_tokens);
  // What changes from pass to pass and is no argument of a kernel: positions, the first key, the plans of all layers.
  Status send_inputs(const Pass& pass, int end);
  Status add_plan(const AttentionPlan& plan, int first_key, std::span<const int32_t> positions);
  Status send_plans();
  Status compute(const Pass& pass, int end);
  // Few tokens: as one launch from the second time on that they are computed in the same way.
  Status compute_recorded(const Pass& pass, int end);
  Status replay(void* recording, const Pass& pass, int end);
  Status without_recordings(const Status& why, const Pass& pass, int end);
  std::vector<uint64_t> way_of(const Pass& pass, int end) const;
  void forget_recordings();
  Status layer(int index, const LayerWeights* next, const Pass& pass);
  Status compute_logits(int first, int n_tokens);
  Status norm_before(kernels::DevicePtr weight, int n_tokens);
  Status norm_behind(kernels::DevicePtr weight, int n_tokens);
  Status add_to_hidden(kernels::DevicePtr weight, int n_tokens);
  Status add_and_norm(kernels::DevicePtr post_weight, kernels::DevicePtr next_weight, int n_tokens);
  Status feed_forward(const LayerWeights& w, const LayerAdditions& a, int n_tokens);
  Status experts(const LayerWeights& w, const LayerAdditions& a, int n_tokens);
  Status finish_heads(kernels::Buffer& heads, kernels::DevicePtr weight, int n_heads, RopeKind kind, int n_tokens);
  Status attention(int index, const LayerAdditions& a, const Pass& pass);
  Status attend(int index, size_t block, QueryBlock queries, const Pass& pass);
  struct Linear {
    kernels::Product product;
    const Addition& addition;
  };
  Status multiply(std::initializer_list<Linear> products, const kernels::Buffer& x, int n_tokens);
  Status add_low_rank(const Linear& linear, const kernels::Buffer& x, int n_tokens);

  const Model& model_;
  size_t share_;
  const kernels::Backend& backend_;
  int first_layer_ = 0, end_layer_ = 0;
  kernels::DevicePtr first_key() const { return keys_.data(); }
  kernels::DevicePtr positions() const { return kernels::at(keys_.data(), sizeof(int32_t)); }
  kernels::Buffer keys_;  // the first key of the batch, then the positions of its tokens
  kernels::Buffer hidden_, normed_, q_, k_, v_, heads_, gate_, up_, logits_, best_, spans_, groups_;
  kernels::Buffer low_, added_;                                            // what an adapter adds to a product
  kernels::Buffer expert_in_, expert_out_, expert_rows_, expert_weights_;  // one expert's share
  // The plans of a pass, each once: spans, `spans_stride_` of them for a plan, and where its groups begin.
  struct Plan {
    std::vector<kernels::Span> spans;
    std::vector<int32_t> begins;
    bool operator==(const Plan&) const = default;
  };
  std::vector<Plan> plans_, sent_;  // of this pass; those that the device has
  std::vector<uint32_t> plan_of_;   // layers from first_layer_ on, and the blocks of each
  std::vector<QueryBlock> blocks_;
  size_t spans_stride_ = 0, begins_stride_ = 0;
  std::map<std::vector<uint64_t>, void*> recorded_;  // by way_of; nullptr: computed once in this way
  bool records_ = true;                              // false: the device refused to
};

}  // namespace longleaf
