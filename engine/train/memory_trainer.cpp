#include "engine/train/memory_trainer.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace longleaf::train {
namespace {

std::vector<int> with_numbers(const std::vector<int>& nodes, const std::vector<int>& numbers) {
  std::vector<int> mapped;
  for (const int node : nodes) mapped.push_back(numbers[static_cast<size_t>(node)]);
  return mapped;
}

// Of the steps on text, those after which texts are told whole.
constexpr double kGrowing = 0.8;

bool contains(const std::vector<int>& values, int value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

TextTree part_of(const TextTree& tree, std::span<const int> wanted, int most, uint64_t seed,
                 std::vector<int>& numbers) {
  std::vector<bool> taken(tree.size(), false);
  int n = 0;
  const auto take = [&](int node) {
    for (; node >= 0 && !taken[static_cast<size_t>(node)]; node = tree.parents[static_cast<size_t>(node)])
      taken[static_cast<size_t>(node)] = true, ++n;
  };
  take(0);
  for (const int node : wanted) take(node);
  std::vector<int> others(tree.size());
  std::iota(others.begin(), others.end(), 0);
  Random random(seed);
  if (static_cast<int>(tree.size()) > most) shuffle(others, random);
  for (const int node : others)
    if (n < most) take(node);
  TextTree part;
  numbers.assign(tree.size(), -1);
  for (size_t i = 0; i < tree.size(); ++i) {
    if (!taken[i]) continue;
    numbers[i] = static_cast<int>(part.size());
    part.parents.push_back(tree.parents[i] < 0 ? -1 : numbers[static_cast<size_t>(tree.parents[i])]);
    part.tokens.push_back(tree.tokens[i]);
  }
  return part;
}

Result<StepReport> MemoryTrainer::step(std::span<const TrainingDocument> documents,
                                       std::span<const TrainingQuestion> questions) {
  StepReport report;
  report.step = parameters_.steps() + 1;
  report.corpus = report.step <= settings_.corpus_steps || questions.empty();
  const uint64_t seed = seed_of(settings_.seed, report.step);
  Random random(seed);
  tape_.clear();
  if (report.corpus) {
    const TrainingDocument& document = a_document(documents, random);
    report.loss = corpus_loss(document, random(), report);
  } else {
    // The nodes that hold their answers are all read: no more questions than have room.
    const auto chosen = some_questions(questions, static_cast<size_t>(settings_.questions_per_step),
                                       static_cast<size_t>(settings_.most_nodes), random);
    report.loss = question_loss(documents[chosen.front()->document], chosen, random(), report);
  }
  LL_RETURN_IF_ERROR(tape_.backward());
  LL_ASSIGN_OR_RETURN(report.gradient, parameters_.step(settings_.optimizer));
  return report;
}

// How many sentences of a text a step tells at most: one at first, and more from step to step; 0: all.
size_t MemoryTrainer::longest_stretch(const TrainingDocument& document, int64_t step) const {
  size_t most = 0;
  for (const auto& starts : document.sentences) most = std::max(most, starts.size());
  const double progress = static_cast<double>(step) / (kGrowing * static_cast<double>(settings_.corpus_steps));
  if (!settings_.begins_short || settings_.corpus_steps == 0 || progress >= 1) return 0;
  return 1 + static_cast<size_t>(progress * static_cast<double>(most));
}

// Some of a node's sentences, one behind the other: every other time as many as may be, and else fewer, so that what
// was learnt of short texts is not lost.
std::vector<TokenId> MemoryTrainer::stretch(const TrainingDocument& document, int node, size_t longest,
                                            Random& random) const {
  const auto number = static_cast<size_t>(node);
  const auto& text = document.tree.tokens[number];
  if (longest == 0 || document.sentences.empty()) return text;
  const auto& starts = document.sentences[number];
  const size_t wanted = below(random, 2) == 0 ? longest : 1 + below(random, longest);
  if (wanted >= starts.size()) return text;
  const size_t first = below(random, starts.size() - wanted + 1), last = first + wanted;
  const auto end = last == starts.size() ? text.end() : text.begin() + starts[last];
  return {text.begin() + starts[first], end};
}

// L_LM and L_AE: texts are told behind their own memories.
double MemoryTrainer::corpus_loss(const TrainingDocument& document, uint64_t seed, StepReport& report) {
  const TextTree& tree = document.tree;
  Random random(seed);
  std::vector<int> nodes;
  for (size_t i = 0; i < tree.size(); ++i)
    if (!tree.tokens[i].empty()) nodes.push_back(static_cast<int>(i));
  shuffle(nodes, random);
  const size_t longest = longest_stretch(document, report.step);
  std::vector<int> chosen;
  std::vector<std::vector<TokenId>> texts;
  int n_tokens = 0;
  for (const int node : nodes) {
    auto text = stretch(document, node, longest, random);
    const auto n = static_cast<int>(text.size());
    if (!chosen.empty() && n_tokens + n > settings_.tokens_per_corpus_step) continue;
    chosen.push_back(node), texts.push_back(std::move(text)), n_tokens += n;
  }
  std::vector<int> numbers;
  TextTree part = part_of(tree, chosen, 0, seed, numbers);
  for (size_t i = 0; i < chosen.size(); ++i)
    part.tokens[static_cast<size_t>(numbers[static_cast<size_t>(chosen[i])])] = texts[i];
  const Var memories = memory_.weights().entered(tape_, memory_.build(tape_, part));
  const bool asks_back = settings_.reconstruction_weight > 0;
  std::vector<Var> rows;
  std::vector<int32_t> targets;
  std::vector<float> weights;
  Batch batch;
  const auto tell = [&](size_t i, std::span<const TokenId> between, float weight) {
    const auto& text = texts[i];
    std::vector<TokenId> tokens(between.begin(), between.end());
    tokens.insert(tokens.end(), text.begin(), text.end() - 1);
    rows.push_back(tape_.gathered(memories, {numbers[static_cast<size_t>(chosen[i])]}));
    if (!tokens.empty()) rows.push_back(decoder_.embed(tape_, tokens));
    batch.add(static_cast<int>(tokens.size()) + 1);
    targets.insert(targets.end(), between.size(), 0);
    weights.insert(weights.end(), between.size(), 0.0f);
    targets.insert(targets.end(), text.begin(), text.end());
    weights.insert(weights.end(), text.size(), weight / static_cast<float>(text.size() * chosen.size()));
  };
  for (size_t i = 0; i < chosen.size(); ++i) {
    tell(i, {}, 1);
    if (asks_back) tell(i, settings_.reconstruct, settings_.reconstruction_weight);
  }
  const Var hidden = decoder_.run(tape_, tape_.stacked(rows), batch);
  report.tokens = batch.n_tokens() + n_tokens + 2 * static_cast<int64_t>(chosen.size());
  const double loss = decoder_.loss(tape_, hidden, std::move(targets), std::move(weights));
  report.answer_loss = loss / (1 + (asks_back ? double{settings_.reconstruction_weight} : 0.0));
  return loss;
}

// L_gen, and L_route or L_sel.
double MemoryTrainer::question_loss(const TrainingDocument& document,
                                    std::span<const TrainingQuestion* const> questions, uint64_t seed,
                                    StepReport& report) {
  Random random(seed);
  std::vector<int> wanted;
  std::vector<std::span<const TokenId>> words;
  for (const TrainingQuestion* question : questions) {
    wanted.insert(wanted.end(), question->gold.begin(), question->gold.end());
    words.push_back(question->words);
  }
  std::vector<int> numbers;
  const TextTree tree = part_of(document.tree, wanted, settings_.most_nodes, seed, numbers);
  const Var memories = memory_.build(tape_, tree);
  const Var scores = memory_.scores(tape_, memory_.queries(tape_, words), memories);
  const std::vector<float> values = tape_.read(scores);
  if (!tape_.status().ok()) return 0;

  double loss = 0;
  std::vector<Reached> reached;
  for (size_t i = 0; i < questions.size(); ++i) {
    const std::vector<int> gold = with_numbers(questions[i]->gold, numbers);
    const bool hands_gold = static_cast<double>(random() % 1000) >= 1000 * settings_.drop_gold;
    const std::span<const float> own = std::span(values).subspan(i * tree.size(), tree.size());
    reached.push_back(
        {descend(tree.parents, own, settings_.descent, hands_gold ? gold : std::vector<int>()), questions[i]});
    if (!gold.empty())
      loss += routing_loss(tree, scores, static_cast<int>(i), gold,
                           settings_.route_weight / static_cast<float>(questions.size()), report);
  }
  std::vector<int32_t> targets;
  tokens_ = 0;
  const Var rows = answer_rows(document, memories, reached, targets);
  report.tokens = tokens_;
  for (const auto& text : tree.tokens) report.tokens += static_cast<int64_t>(text.size());
  const std::vector<float> weights(targets.size(), 1.0f / static_cast<float>(targets.size()));
  report.answer_loss = decoder_.loss(tape_, rows, targets, weights);
  return loss + report.answer_loss;
}

// Over the parents on the gold paths of one question, their mean.
double MemoryTrainer::routing_loss(const TextTree& tree, Var scores, int row, const std::vector<int>& gold,
                                   float weight, StepReport& report) {
  const auto children = children_of(tree.parents);
  std::vector<bool> on_path(tree.size(), false);
  for (int node : gold)
    for (; node >= 0; node = tree.parents[static_cast<size_t>(node)]) on_path[static_cast<size_t>(node)] = true;
  std::vector<size_t> parents;
  for (size_t i = 0; i < tree.size(); ++i)
    if (on_path[i] && children[i].size() > 1) parents.push_back(i);
  const auto n = static_cast<int>(tree.size());
  const Var flat = tape_.reshaped(scores, tape_.rows(scores) * n, 1);
  double loss = 0;
  for (const size_t parent : parents) {
    std::vector<int32_t> places;
    std::vector<int> golden;
    for (const int child : children[parent]) {
      if (on_path[static_cast<size_t>(child)]) golden.push_back(static_cast<int>(places.size()));
      places.push_back(row * n + child);
    }
    if (golden.empty()) continue;  // the parent itself is gold
    const auto width = static_cast<int>(places.size());
    const Var siblings = tape_.reshaped(tape_.gathered(flat, std::move(places)), 1, width);
    loss += MemoryModel::route_loss(tape_, siblings, golden, settings_.temperature,
                                    weight / static_cast<float>(parents.size()));
  }
  report.route_loss += weight > 0 ? loss / double{settings_.route_weight} : 0;
  return loss;
}

Var MemoryTrainer::answer_rows(const TrainingDocument& document, Var memories, std::span<const Reached> reached,
                               std::vector<int32_t>& targets) {
  const Var entered = memory_.weights().entered(tape_, memories);
  const Var opening = document.opening.empty() ? Var{} : decoder_.embed(tape_, document.opening);
  std::vector<Var> parts;
  std::vector<int32_t> places;
  Batch batch;
  for (const Reached& r : reached) {
    const TrainingQuestion& q = *r.question;
    std::vector<TokenId> tokens = q.asked;
    tokens.insert(tokens.end(), q.answer.begin(), q.answer.end() - 1);
    if (opening.index >= 0) parts.push_back(opening);
    parts.push_back(tape_.gathered(entered, {r.nodes.begin(), r.nodes.end()}));
    parts.push_back(decoder_.embed(tape_, tokens));
    const auto front = static_cast<int>(document.opening.size() + r.nodes.size());
    const int first = batch.n_tokens() + front + static_cast<int>(q.asked.size()) - 1;
    batch.add(front + static_cast<int>(tokens.size()));
    for (size_t i = 0; i < q.answer.size(); ++i) places.push_back(first + static_cast<int>(i));
    targets.insert(targets.end(), q.answer.begin(), q.answer.end());
  }
  tokens_ += batch.n_tokens();
  return tape_.gathered(decoder_.run(tape_, tape_.stacked(parts), batch), std::move(places));
}

// What is counted over questions until it becomes shares.
struct MemoryTrainer::Counts {
  double answer_tokens = 0, loss = 0, right = 0, leaves = 0, leaves_reached = 0, memory_tokens = 0, questions = 0;
  std::vector<double> gold, reached;  // nodes, per level below the root

  void add(const TextTree& tree, const std::vector<int>& gold_leaves, const std::vector<int>& nodes) {
    std::vector<bool> counted(tree.size(), false);
    for (const int leaf : gold_leaves) {
      ++leaves;
      leaves_reached += contains(nodes, leaf) ? 1 : 0;
      std::vector<int> path;
      for (int node = leaf; node > 0; node = tree.parents[static_cast<size_t>(node)]) path.insert(path.begin(), node);
      for (size_t level = 0; level < path.size(); ++level) {
        if (gold.size() <= level) gold.resize(level + 1), reached.resize(level + 1);
        if (counted[static_cast<size_t>(path[level])]) continue;
        counted[static_cast<size_t>(path[level])] = true;
        ++gold[level];
        reached[level] += contains(nodes, path[level]) ? 1 : 0;
      }
    }
    memory_tokens += static_cast<double>(nodes.size());
  }
  MemoryScores scores() const {
    MemoryScores s;
    s.questions = static_cast<size_t>(questions);
    if (questions == 0) return s;
    s.answer_loss = loss / answer_tokens;
    s.right = right / questions;
    s.memory_tokens = memory_tokens / questions;
    s.gold_leaves_survive = leaves > 0 ? leaves_reached / leaves : 0;
    for (size_t level = 0; level < gold.size(); ++level) s.gold_survives.push_back(reached[level] / gold[level]);
    return s;
  }
};

Result<MemoryScores> MemoryTrainer::score(std::span<const TrainingDocument> documents,
                                          std::span<const TrainingQuestion> questions, Routing routing) {
  Counts counts;
  for (size_t d = 0; d < documents.size(); ++d) {
    std::vector<const TrainingQuestion*> own;
    for (const TrainingQuestion& question : questions)
      if (question.document == d) own.push_back(&question);
    if (own.empty()) continue;
    tape_.clear();
    tape_.record(false);
    const Status status =
        score_document(documents[d], own, routing, seed_of(settings_.seed, static_cast<int64_t>(d)), counts);
    tape_.record(true);
    LL_RETURN_IF_ERROR(status);
  }
  return counts.scores();
}

Status MemoryTrainer::score_document(const TrainingDocument& document,
                                     std::span<const TrainingQuestion* const> questions, Routing routing, uint64_t seed,
                                     Counts& counts) {
  Random random(seed);
  const TextTree& tree = document.tree;
  const Var memories = memory_.build(tape_, tree);
  std::vector<std::span<const TokenId>> words;
  for (const TrainingQuestion* question : questions) words.push_back(question->words);
  const std::vector<float> values = tape_.read(memory_.scores(tape_, memory_.queries(tape_, words), memories));
  LL_RETURN_IF_ERROR(tape_.status());
  for (size_t i = 0; i < questions.size(); ++i) {
    std::vector<float> scores(tree.size());
    for (size_t node = 0; node < scores.size(); ++node)
      scores[node] =
          routing == Routing::Random ? static_cast<float>(below(random, 1 << 20)) : values[i * tree.size() + node];
    const std::vector<int>& gold = questions[i]->gold;
    DescentOptions options = settings_.descent;
    const bool only_gold = routing == Routing::Gold && !gold.empty();
    if (only_gold) options.children = 0;
    const auto nodes = descend(tree.parents, scores, options, only_gold ? gold : std::vector<int>());
    counts.add(tree, gold, nodes);
    tape_.aside([&] { score_answer(document, memories, {nodes, questions[i]}, counts); });
    LL_RETURN_IF_ERROR(tape_.status());
  }
  return {};
}

void MemoryTrainer::score_answer(const TrainingDocument& document, Var memories, const Reached& reached,
                                 Counts& counts) {
  std::vector<int32_t> targets;
  const Var rows = answer_rows(document, memories, {&reached, 1}, targets);
  const Decoder::Guesses guesses = decoder_.guess(tape_, rows, targets);
  counts.loss += guesses.loss;
  counts.right += std::equal(guesses.tokens.begin(), guesses.tokens.end(), targets.begin(), targets.end()) ? 1 : 0;
  counts.answer_tokens += static_cast<double>(targets.size());
  ++counts.questions;
}

}  // namespace longleaf::train
