#include "engine/train/memory_model.h"

#include <algorithm>
#include <cmath>

#include "engine/routing/descent.h"

namespace longleaf::train {
namespace {

constexpr size_t kReadTokens = 2048;  // at a time

}  // namespace

Result<std::unique_ptr<MemoryModel>> MemoryModel::create(const Decoder& decoder, Parameters& parameters,
                                                         const MemorySettings& settings) {
  LL_ASSIGN_OR_RETURN(auto weights,
                      MemoryWeights::create(hidden_shape(decoder.config(), decoder.table()), parameters, settings));
  return std::unique_ptr<MemoryModel>(new MemoryModel(decoder, std::move(weights)));
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
  std::vector<Var> table = {weights_->e_write(tape), weights_->e_read(tape)};
  const int first_inner = 2, first_token = first_inner + tape.rows(inner);
  if (inner.index >= 0) table.push_back(weights_->entered(tape, inner));
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
  const auto levels = levels_of(tree);
  std::vector<Var> memories(tree.size());
  for (size_t level = levels.size(); level-- > 0 && tape.status().ok();)
    build_level(tape, tree, levels[level], children, memories);
  return tape.stacked(memories);
}

// Nodes with text are read, behind what their children were made to; others are what their children were made to.
void MemoryModel::build_level(Tape& tape, const TextTree& tree, std::span<const int> level,
                              const std::vector<std::vector<int>>& children, std::vector<Var>& memories) const {
  const auto at = [](int node) { return static_cast<size_t>(node); };
  const bool asks_parent = weights_->asks_parent();
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
      const Var made = weights_->aggregate(tape, stack, parent);
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

Var MemoryModel::queries(Tape& tape, std::span<const std::span<const TokenId>> questions) const {
  std::vector<Text> texts;
  for (const auto question : questions) texts.push_back({weights_->asked(question), -1});
  return read(tape, texts);
}

Var MemoryModel::scores(Tape& tape, Var queries, Var memories) const {
  return tape.product(weights_->routed(tape, queries), false, weights_->keys(tape, memories), true);
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
