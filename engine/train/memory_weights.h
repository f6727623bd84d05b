// What a learned memory has beside the language model: its vectors and projections, and what is computed with them
// alone; of H²MT (arXiv 2605.24930, whose sections are named) and of HMT (arXiv 2405.06067). The same in training and
// in the engine that answers. Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/adapter/adapter_file.h"
#include "engine/model/config.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/train/parameters.h"

namespace longleaf::train {

// Of the language model, as far as the memory depends on it.
struct HiddenShape {
  int d_model = 0;
  float norm_eps = 0;
  float embedding_size = 0;  // root of the mean square of an embedding's numbers, as layers take them
};
HiddenShape hidden_shape(const ModelConfig& config, const kernels::Weight& embedding);

class MemoryWeights {
 public:
  // `parameters` gets what is trained, and outlives the object. Returns NoMemory.
  static Result<std::unique_ptr<MemoryWeights>> create(const HiddenShape& shape, Parameters& parameters,
                                                       const MemorySettings& settings);
  // With an adapter's numbers. Returns Corrupt where they are of another shape, or too many or too few.
  static Result<std::unique_ptr<MemoryWeights>> load(const HiddenShape& shape, Parameters& parameters,
                                                     const AdapterContents& adapter);

  const MemorySettings& settings() const { return settings_; }

  // What stands in front of a text and behind it while it is read; HMT has one vector for both.
  Var e_write(Tape& tape) const { return on(tape, e_write_); }
  Var e_read(Tape& tape) const { return on(tape, e_read_); }

  // One vector of those of children (c, d_model). parent: what the parent's text says, (1, d_model).
  Var aggregate(Tape& tape, Var children, Var parent) const;
  // Whether `parent` matters.
  bool asks_parent() const {
    return settings_.aggregation == Aggregation::CrossAttention || settings_.aggregation == Aggregation::Graph;
  }

  // HMT: what stands for the memories before the first segment.
  Var first(Tape& tape) const { return on(tape, first_); }
  // HMT, equation 3: memories (n, d_model) in the shares that the softmax of their scores (1, n) gives them, (1,
  // d_model); and with equation 2, what a summary (1, d_model) recalls of them.
  Var mixed(Tape& tape, Var scores, Var memories) const;
  Var recalled(Tape& tape, Var summary, Var memories) const;

  // What of a question's tokens its vector is made of (section 3.3).
  std::span<const TokenId> asked(std::span<const TokenId> question) const;
  // Memories and questions as they are compared: (n, d_routing). Scores are products of these.
  Var keys(Tape& tape, Var memories) const;
  Var routed(Tape& tape, Var queries) const;  // with the scale of scores

  // Memories as they stand among embeddings.
  Var entered(Tape& tape, Var memories) const;

 private:
  MemoryWeights(const HiddenShape& shape, Parameters& parameters, const MemorySettings& settings)
      : shape_(shape), parameters_(parameters), settings_(settings) {}
  Status make_parameters(bool at_random);
  Status set(const AdapterTensor& tensor);
  Var on(Tape& tape, const Parameter* parameter) const { return parameters_.on(tape, *parameter); }
  Var graph(Tape& tape, Var children, Var parent) const;
  Var parent_token(Tape& tape, Var children) const;
  Var attention(Tape& tape, Var queries, Var keys) const;  // softmax of projected products: (n_queries, n_keys)

  HiddenShape shape_;
  Parameters& parameters_;
  MemorySettings settings_;
  Parameter *e_write_ = nullptr, *e_read_ = nullptr, *w_q_ = nullptr, *w_k_ = nullptr;
  Parameter* first_ = nullptr;  // HMT's only
  // Of aggregation; nullptr where it has none.
  Parameter *parent_q_ = nullptr, *child_k_ = nullptr, *child_v_ = nullptr;
  Parameter *slope_parent_ = nullptr, *slope_child_ = nullptr, *parent_token_ = nullptr;
};

}  // namespace longleaf::train
