#include "engine/train/memory_model.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/routing/descent.h"

namespace longleaf::train {
namespace {

constexpr int kMostRouting = 1024;
constexpr size_t kReadTokens = 2048;  // at a time
constexpr float kLeak = 0.2f;         // of graph attention (Veličković et al., arXiv 1710.10903)

class Start {
 public:
  explicit Start(uint64_t seed) : random_(seed) {}
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
    for (float& x : values) x = distribution(random_);
    return values;
  }
  std::mt19937_64 random_;
};

std::vector<float> identity(int n) {
  std::vector<float> values(static_cast<size_t>(int64_t{n} * n));
  for (int i = 0; i < n; ++i) values[static_cast<size_t>(int64_t{i} * n + i)] = 1;
  return values;
}

}  // namespace

Result<std::unique_ptr<MemoryModel>> MemoryModel::create(const Decoder& decoder, Parameters& parameters,
                                                         const MemorySettings& settings) {
  std::unique_ptr<MemoryModel> model(new MemoryModel(decoder, parameters, settings));
  LL_RETURN_IF_ERROR(model->make_parameters());
  return model;
}

Status MemoryModel::make_parameters() {
  const int d = decoder_.config().d_model;
  if (settings_.d_routing == 0) settings_.d_routing = std::min(d, kMostRouting);
  const int h = settings_.d_routing;
  embedding_size_ = decoder_.embedding_size();
  Start start(settings_.seed);
  const auto vector = [&](const char* name, int n, std::vector<float> values, Parameter*& to) -> Status {
    LL_ASSIGN_OR_RETURN(to, parameters_.add(std::string("h2mt.") + name, 1, n, values));
    to->decays = false;
    return {};
  };
  const auto matrix = [&](const char* name, int rows, const std::vector<float>& values, Parameter*& to) -> Status {
    LL_ASSIGN_OR_RETURN(to, parameters_.add(std::string("h2mt.") + name, rows, d, values));
    return {};
  };
  const auto width = static_cast<size_t>(d);
  LL_RETURN_IF_ERROR(vector("e_write", d, start.normal(width, embedding_size_), e_write_));
  LL_RETURN_IF_ERROR(vector("e_read", d, start.normal(width, embedding_size_), e_read_));
  const std::vector<float> alike = start.linear(h, d);  // so that scores begin as similarities
  LL_RETURN_IF_ERROR(matrix("w_q", h, alike, w_q_));
  LL_RETURN_IF_ERROR(matrix("w_k", h, alike, w_k_));
  const Aggregation kind = settings_.aggregation;
  if (kind == Aggregation::Mean) return {};
  LL_RETURN_IF_ERROR(matrix("parent_q", h, start.linear(h, d), parent_q_));
  LL_RETURN_IF_ERROR(matrix("child_k", h, start.linear(h, d), child_k_));
  if (kind == Aggregation::Graph || kind == Aggregation::ParentToken)
    LL_RETURN_IF_ERROR(matrix("child_v", d, identity(d), child_v_));
  if (kind == Aggregation::ParentToken)
    LL_RETURN_IF_ERROR(vector("parent_token", d, start.normal(width, embedding_size_), parent_token_));
  if (kind == Aggregation::Graph) {
    const std::vector<float> none(static_cast<size_t>(h));
    LL_RETURN_IF_ERROR(vector("slope_parent", h, none, slope_parent_));
    LL_RETURN_IF_ERROR(vector("slope_child", h, none, slope_child_));
  }
  return {};
}

Var MemoryModel::read(Tape& tape, std::span<const Text> texts, Var inner) const {
  if (tape.records()) return read_together(tape, texts, inner);
  std::vector<Var> parts;
  while (!texts.empty() && tape.status().ok()) {
    size_t n = 1, n_tokens = texts[0].tokens.size();
    while (n < texts.size() && n_tokens + texts[n].tokens.size() <= kReadTokens) n_tokens += texts[n++].tokens.size();
    const auto some = texts.first(n);
    parts.push_back(
        tape.kept(static_cast<int>(n), decoder_.config().d_model, [&] { return read_together(tape, some, inner); }));
    texts = texts.subspan(n);
  }
  return tape.stacked(parts);
}

Var MemoryModel::read_together(Tape& tape, std::span<const Text> texts, Var inner) const {
  // A table of all rows that stand anywhere, then the rows of each sequence by their numbers.
  std::vector<TokenId> tokens;
  for (const Text& text : texts) tokens.insert(tokens.end(), text.tokens.begin(), text.tokens.end());
  std::vector<Var> table = {on(tape, e_write_), on(tape, e_read_)};
  const int first_inner = 2, first_token = first_inner + tape.rows(inner);
  if (inner.index >= 0) table.push_back(entered(tape, inner));
  if (!tokens.empty()) table.push_back(decoder_.embed(tape, tokens));
  std::vector<int32_t> rows, ends;
  Batch batch;
  int token = first_token;
  for (const Text& text : texts) {
    const size_t begin = rows.size();
    rows.push_back(0);
    if (text.inner >= 0) rows.push_back(first_inner + text.inner);
    for (size_t i = 0; i < text.tokens.size(); ++i) rows.push_back(token++);
    rows.push_back(1);
    ends.push_back(static_cast<int32_t>(rows.size()) - 1);
    batch.add(static_cast<int>(rows.size() - begin));
  }
  const Var hidden = decoder_.run(tape, tape.gathered(tape.stacked(table), std::move(rows)), batch);
  return tape.gathered(hidden, std::move(ends));
}

Var MemoryModel::build(Tape& tape, const TextTree& tree) const {
  const auto children = children_of(tree.parents);
  std::vector<std::vector<int>> levels;
  std::vector<size_t> depth(tree.size(), 0);
  for (size_t i = 0; i < tree.size(); ++i) {
    if (tree.parents[i] >= 0) depth[i] = depth[static_cast<size_t>(tree.parents[i])] + 1;
    if (levels.size() <= depth[i]) levels.resize(depth[i] + 1);
    levels[depth[i]].push_back(static_cast<int>(i));
  }
  std::vector<Var> memories(tree.size());
  for (size_t level = levels.size(); level-- > 0 && tape.status().ok();)
    build_level(tape, tree, levels[level], children, memories);
  return tape.stacked(memories);
}

// Nodes with text are read, behind what their children were made to; others are what their children were made to.
void MemoryModel::build_level(Tape& tape, const TextTree& tree, std::span<const int> level,
                              const std::vector<std::vector<int>>& children, std::vector<Var>& memories) const {
  const auto at = [](int node) { return static_cast<size_t>(node); };
  const bool asks_parent =
      settings_.aggregation == Aggregation::CrossAttention || settings_.aggregation == Aggregation::Graph;
  // What parents say by themselves.
  std::vector<Text> own;
  for (const int node : level)
    if (asks_parent && !children[at(node)].empty() && !tree.tokens[at(node)].empty())
      own.push_back({tree.tokens[at(node)], -1});
  const Var said = own.empty() ? Var{} : read(tape, own);

  std::vector<Text> texts;
  std::vector<Var> inner;
  std::vector<int> with_text;
  int next_said = 0;
  for (const int node : level) {
    const bool has_text = !tree.tokens[at(node)].empty();
    Text text{tree.tokens[at(node)], -1};
    if (!children[at(node)].empty()) {
      std::vector<Var> below;
      for (const int child : children[at(node)]) below.push_back(memories[at(child)]);
      const Var stack = tape.stacked(below);
      const Var parent = !asks_parent ? Var{} : has_text ? tape.gathered(said, {next_said++}) : tape.mean(stack);
      const Var made = aggregate(tape, stack, parent);
      memories[at(node)] = made;
      if (!has_text) continue;
      text.inner = static_cast<int>(inner.size());
      inner.push_back(made);
    }
    texts.push_back(text);
    with_text.push_back(node);
  }
  if (texts.empty()) return;
  const Var states = read(tape, texts, inner.empty() ? Var{} : tape.stacked(inner));
  for (size_t i = 0; i < with_text.size(); ++i)
    memories[at(with_text[i])] = tape.gathered(states, {static_cast<int32_t>(i)});
}

Var MemoryModel::attention(Tape& tape, Var queries, Var keys) const {
  const Var q = tape.product(queries, false, on(tape, parent_q_), true);
  const Var k = tape.product(keys, false, on(tape, child_k_), true);
  return tape.softmax(tape.product(q, false, k, true, 1 / std::sqrt(static_cast<float>(settings_.d_routing))));
}

Var MemoryModel::aggregate(Tape& tape, Var children, Var parent) const {
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

Var MemoryModel::graph(Tape& tape, Var children, Var parent) const {
  const Var p = tape.product(parent, false, on(tape, parent_q_), true);
  const Var k = tape.product(children, false, on(tape, child_k_), true);
  const Var from_parent = tape.product(p, false, on(tape, slope_parent_), true);   // (1, 1)
  const Var from_children = tape.product(on(tape, slope_child_), false, k, true);  // (1, c)
  const std::vector<float> ones(static_cast<size_t>(tape.rows(children)), 1.0f);
  const Var spread = tape.product(from_parent, false, tape.constant(1, tape.rows(children), ones), false);
  const Var shares = tape.softmax(tape.leaky(tape.add(from_children, spread), kLeak));
  return tape.product(tape.product(shares, false, children, false), false, on(tape, child_v_), true);
}

Var MemoryModel::parent_token(Tape& tape, Var children) const {
  const Var token = on(tape, parent_token_);
  const Var parts[] = {token, children};
  const Var all = tape.stacked(parts);
  return tape.product(tape.product(attention(tape, token, all), false, all, false), false, on(tape, child_v_), true);
}

Var MemoryModel::queries(Tape& tape, std::span<const std::span<const TokenId>> questions) const {
  std::vector<Text> texts;
  for (const auto question : questions) {
    const double share = double{settings_.query_fraction} * static_cast<double>(question.size());
    texts.push_back({question.first(std::min(static_cast<size_t>(std::ceil(share)), question.size())), -1});
  }
  return read(tape, texts);
}

Var MemoryModel::scores(Tape& tape, Var queries, Var memories) const {
  const Var q = tape.product(queries, false, on(tape, w_q_), true);
  const Var k = tape.product(memories, false, on(tape, w_k_), true);
  return tape.product(q, false, k, true, 1 / std::sqrt(static_cast<float>(settings_.d_routing)));
}

Var MemoryModel::entered(Tape& tape, Var memories) const {
  if (!settings_.scales) return memories;
  const int d = decoder_.config().d_model;
  const std::vector<float> size(static_cast<size_t>(d), embedding_size_);
  return tape.rms_norm(memories, tape.constant(1, d, size), decoder_.config().norm_eps);
}

double MemoryModel::route_loss(Tape& tape, Var scores, std::vector<int> gold, float temperature, float weight) {
  if (!tape.status().ok()) return 0;
  std::vector<bool> is_gold(static_cast<size_t>(tape.cols(scores)), false);
  for (const int i : gold) is_gold[static_cast<size_t>(i)] = true;
  return tape.loss(scores, [&](std::span<const float> s, std::span<float> slopes) {
    // log of the sum of exponentials, of all or of the gold ones.
    const auto norm = [&](bool gold_only) {
      double top = -INFINITY, sum = 0;
      for (size_t i = 0; i < s.size(); ++i)
        if (!gold_only || is_gold[i]) top = std::max(top, double{s[i]} / double{temperature});
      for (size_t i = 0; i < s.size(); ++i)
        if (!gold_only || is_gold[i]) sum += std::exp(double{s[i]} / double{temperature} - top);
      return top + std::log(sum);
    };
    const double all = norm(false), golden = norm(true);
    for (size_t i = 0; i < s.size(); ++i) {
      const double z = double{s[i]} / double{temperature};
      const double slope = std::exp(z - all) - (is_gold[i] ? std::exp(z - golden) : 0.0);
      slopes[i] = static_cast<float>(double{weight} * slope / double{temperature});
    }
    return double{weight} * (all - golden);
  });
}

}  // namespace longleaf::train
