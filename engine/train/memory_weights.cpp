#include "engine/train/memory_weights.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/blocks.h"

namespace longleaf::train {
namespace {

constexpr int kMostRouting = 1024;
constexpr float kLeak = 0.2f;  // of graph attention (Veličković et al., arXiv 1710.10903)

class Start {
 public:
  // Zeros where nothing is begun, because numbers are there.
  Start(uint64_t seed, bool at_random) : random_(seed), at_random_(at_random) {}
  std::vector<float> normal(size_t n, float deviation) {
    std::normal_distribution<float> distribution(0, deviation);
    return filled(n, distribution);
  }
  // As linear layers usually begin.
  std::vector<float> linear(int rows, int cols) {
    const float bound = 1 / std::sqrt(static_cast<float>(cols));
    std::uniform_real_distribution<float> distribution(-bound, bound);
    return filled(static_cast<size_t>(int64_t{rows} * cols), distribution);
  }

 private:
  template <typename Distribution>
  std::vector<float> filled(size_t n, Distribution& distribution) {
    std::vector<float> values(n);
    if (at_random_)
      for (float& x : values) x = distribution(random_);
    return values;
  }
  std::mt19937_64 random_;
  bool at_random_;
};

std::vector<float> identity(int n) {
  std::vector<float> values(static_cast<size_t>(int64_t{n} * n));
  for (int i = 0; i < n; ++i) values[static_cast<size_t>(int64_t{i} * n + i)] = 1;
  return values;
}

}  // namespace

HiddenShape hidden_shape(const ModelConfig& config, const kernels::Weight& table) {
  const int step = std::max(1, table.rows / 4096);  // a sample says it well enough
  const size_t stride = kernels::row_bytes(table.type, table.cols);
  std::vector<float> row(static_cast<size_t>(table.cols));
  double squares = 0, n = 0;
  for (int i = 0; i < table.rows; i += step, n += table.cols) {
    kernels::dequantize_row(table.type, table.data + static_cast<size_t>(i) * stride, table.cols, row.data());
    for (const float x : row) squares += double{x} * double{x};
  }
  const auto size = static_cast<float>(std::sqrt(squares / n)) * config.embedding_scale;
  return {config.d_model, config.norm_eps, size};
}

Result<std::unique_ptr<MemoryWeights>> MemoryWeights::create(const HiddenShape& shape, Parameters& parameters,
                                                             const MemorySettings& settings) {
  std::unique_ptr<MemoryWeights> weights(new MemoryWeights(shape, parameters, settings));
  LL_RETURN_IF_ERROR(weights->make_parameters(true));
  return weights;
}

Result<std::unique_ptr<MemoryWeights>> MemoryWeights::load(const HiddenShape& shape, Parameters& parameters,
                                                           const AdapterContents& adapter) {
  // Widths are believed when a tensor has them.
  const std::string prefix = std::string(name_of(adapter.memory.method)) + ".";
  const bool is_wide = std::any_of(adapter.tensors.begin(), adapter.tensors.end(), [&](const AdapterTensor& t) {
    return t.name == prefix + "w_k" && t.rows == adapter.memory.d_routing && t.cols == shape.d_model;
  });
  if (!is_wide)
    return Status(Code::Corrupt, "The adapter does not fit the model: its tensor " + prefix +
                                     "w_k is missing or of another shape; train it again for this model");
  std::unique_ptr<MemoryWeights> weights(new MemoryWeights(shape, parameters, adapter.memory));
  LL_RETURN_IF_ERROR(weights->make_parameters(false));
  int64_t left = 0;  // that are to be set
  for (const Parameter& p : parameters.all()) left += p.name.starts_with(prefix) ? 1 : 0;
  for (const AdapterTensor& tensor : adapter.tensors) {
    if (!tensor.name.starts_with(prefix)) continue;
    LL_RETURN_IF_ERROR(weights->set(tensor));
    --left;
  }
  if (left == 0) return weights;
  return Status(Code::Corrupt, "The adapter is damaged: parts of its memory are missing; train it again");
}

Status MemoryWeights::set(const AdapterTensor& tensor) {
  Parameter* p = parameters_.find(tensor.name);
  if (p == nullptr || p->rows != tensor.rows || p->cols != tensor.cols)
    return Status(Code::Corrupt, "The adapter does not fit the model: its tensor " + tensor.name +
                                     " is unknown, or of another shape; train it again for this model");
  return parameters_.set_values(*p, tensor.values);
}

Status MemoryWeights::make_parameters(bool at_random) {
  const int d = shape_.d_model;
  if (settings_.d_routing == 0) settings_.d_routing = std::min(d, kMostRouting);
  const int h = settings_.d_routing;
  const std::string prefix = std::string(name_of(settings_.method)) + ".";
  Start start(settings_.seed, at_random);
  const auto vector = [&](const char* name, int n, std::vector<float> values, Parameter*& to) -> Status {
    LL_ASSIGN_OR_RETURN(to, parameters_.add(prefix + name, 1, n, values));
    to->decays = false;
    return {};
  };
  const auto matrix = [&](const char* name, int rows, const std::vector<float>& values, Parameter*& to) -> Status {
    LL_ASSIGN_OR_RETURN(to, parameters_.add(prefix + name, rows, d, values));
    return {};
  };
  const auto width = static_cast<size_t>(d);
  const bool is_recurrent = settings_.method == MemoryMethod::Recurrent;
  const char *front = is_recurrent ? "summary" : "e_write", *behind = is_recurrent ? "first" : "e_read";
  LL_RETURN_IF_ERROR(vector(front, d, start.normal(width, shape_.embedding_size), e_write_));
  LL_RETURN_IF_ERROR(vector(behind, d, start.normal(width, shape_.embedding_size), is_recurrent ? first_ : e_read_));
  if (is_recurrent) e_read_ = e_write_;
  const std::vector<float> alike = start.linear(h, d);  // so that scores begin as similarities
  LL_RETURN_IF_ERROR(matrix("w_q", h, alike, w_q_));
  LL_RETURN_IF_ERROR(matrix("w_k", h, alike, w_k_));
  const Aggregation kind = settings_.aggregation;
  if (is_recurrent || kind == Aggregation::Mean) return {};
  LL_RETURN_IF_ERROR(matrix("parent_q", h, start.linear(h, d), parent_q_));
  LL_RETURN_IF_ERROR(matrix("child_k", h, start.linear(h, d), child_k_));
  if (kind == Aggregation::Graph || kind == Aggregation::ParentToken)
    LL_RETURN_IF_ERROR(matrix("child_v", d, identity(d), child_v_));
  if (kind == Aggregation::ParentToken)
    LL_RETURN_IF_ERROR(vector("parent_token", d, start.normal(width, shape_.embedding_size), parent_token_));
  if (kind == Aggregation::Graph) {
    const std::vector<float> none(static_cast<size_t>(h));
    LL_RETURN_IF_ERROR(vector("slope_parent", h, none, slope_parent_));
    LL_RETURN_IF_ERROR(vector("slope_child", h, none, slope_child_));
  }
  return {};
}

Var MemoryWeights::attention(Tape& tape, Var queries, Var keys) const {
  const Var q = tape.product(queries, false, on(tape, parent_q_), true);
  const Var k = tape.product(keys, false, on(tape, child_k_), true);
  return tape.softmax(tape.product(q, false, k, true, 1 / std::sqrt(static_cast<float>(settings_.d_routing))));
}

Var MemoryWeights::aggregate(Tape& tape, Var children, Var parent) const {
  switch (settings_.aggregation) {
    case Aggregation::Mean:
      return tape.mean(children);
    case Aggregation::SelfWeights:  // the mean of rows that sum to one sums to one
      return tape.product(tape.mean(attention(tape, children, children)), false, children, false);
    case Aggregation::CrossAttention:
      return tape.product(attention(tape, parent, children), false, children, false);
    case Aggregation::Graph:
      return graph(tape, children, parent);
    case Aggregation::ParentToken:
      return parent_token(tape, children);
  }
  return {};
}

Var MemoryWeights::graph(Tape& tape, Var children, Var parent) const {
  const Var p = tape.product(parent, false, on(tape, parent_q_), true);
  const Var k = tape.product(children, false, on(tape, child_k_), true);
  const Var from_parent = tape.product(p, false, on(tape, slope_parent_), true);   // (1, 1)
  const Var from_children = tape.product(on(tape, slope_child_), false, k, true);  // (1, c)
  const std::vector<float> ones(static_cast<size_t>(tape.rows(children)), 1.0f);
  const Var spread = tape.product(from_parent, false, tape.constant(1, tape.rows(children), ones), false);
  const Var shares = tape.softmax(tape.leaky(tape.add(from_children, spread), kLeak));
  return tape.product(tape.product(shares, false, children, false), false, on(tape, child_v_), true);
}

Var MemoryWeights::parent_token(Tape& tape, Var children) const {
  const Var token = on(tape, parent_token_);
  const Var parts[] = {token, children};
  const Var all = tape.stacked(parts);
  return tape.product(tape.product(attention(tape, token, all), false, all, false), false, on(tape, child_v_), true);
}

std::span<const TokenId> MemoryWeights::asked(std::span<const TokenId> question) const {
  const double share = double{settings_.query_fraction} * static_cast<double>(question.size());
  return question.first(std::min(static_cast<size_t>(std::ceil(share)), question.size()));
}

Var MemoryWeights::keys(Tape& tape, Var memories) const { return tape.product(memories, false, on(tape, w_k_), true); }

Var MemoryWeights::routed(Tape& tape, Var queries) const {
  return tape.product(queries, false, on(tape, w_q_), true, 1 / std::sqrt(static_cast<float>(settings_.d_routing)));
}

Var MemoryWeights::mixed(Tape& tape, Var scores, Var memories) const {
  return tape.product(tape.softmax(scores), false, memories, false);
}

Var MemoryWeights::recalled(Tape& tape, Var summary, Var memories) const {
  return mixed(tape, tape.product(routed(tape, summary), false, keys(tape, memories), true), memories);
}

Var MemoryWeights::entered(Tape& tape, Var memories) const {
  if (!settings_.scales) return memories;
  const int d = shape_.d_model;
  const std::vector<float> size(static_cast<size_t>(d), shape_.embedding_size);
  return tape.rms_norm(memories, tape.constant(1, d, size), shape_.norm_eps);
}

}  // namespace longleaf::train
