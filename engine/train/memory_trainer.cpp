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

std::vector<int> nodes_with_text(const TextTree& tree) {
  std::vector<int> nodes;
  for (size_t i = 0; i < tree.size(); ++i)
    if (!tree.tokens[i].empty()) nodes.push_back(static_cast<int>(i));
  return nodes;
}

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
  Generator random(seed);
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

size_t MemoryTrainer::parts_of(const TrainingDocument&, const TrainingQuestion& question) const {
  return question.gold.size();
}

StepTokens MemoryTrainer::most_tokens(std::span<const TrainingDocument> documents,
                                      std::span<const TrainingQuestion> questions) const {
  const int64_t tellings = settings_.reconstruction_weight > 0 ? 2 : 1;
  StepTokens corpus, asked;
  const auto grow = [](StepTokens& most, std::initializer_list<int64_t> runs) {
    most.all = std::max(most.all, std::accumulate(runs.begin(), runs.end(), int64_t{0}));
    most.run = std::max(most.run, std::max(runs));
  };
  size_t n_gold = 0;
  for (const TrainingQuestion& question : questions) n_gold = std::max(n_gold, question.gold.size());
  size_t reached = 0;
  for (const TrainingDocument& document : documents)
    reached = std::max(reached, most_reached(document.tree.parents, settings_.descent, n_gold));
  const int64_t prompts =
      questions.empty() ? 0 : most_prompt_tokens(documents, questions, static_cast<int64_t>(reached));
  for (const TrainingDocument& document : documents) {
    const auto& texts = document.tree.tokens;
    const auto children = children_of(document.tree.parents);
    std::vector<int64_t> lengths;
    int64_t above = 0, all = 0;  // of nodes with others below them
    for (size_t i = 0; i < texts.size(); ++i) {
      lengths.push_back(static_cast<int64_t>(texts[i].size()) + 2 + (children[i].empty() ? 0 : 1));
      all += static_cast<int64_t>(texts[i].size());
      if (!children[i].empty()) above += 2 * lengths.back();  // read alone, too, for some aggregations
    }
    std::sort(lengths.rbegin(), lengths.rend());
    // As many texts as a step has tokens, at most, each with vectors that it is read and told with.
    const int64_t told = std::min(all, std::max<int64_t>(settings_.tokens_per_corpus_step, lengths.front()));
    const int64_t n_texts = std::min(told, static_cast<int64_t>(texts.size()));
    const auto asked_back = static_cast<int64_t>(settings_.reconstruct.size());
    const int64_t telling = told + n_texts + (tellings - 1) * (told + n_texts + n_texts * asked_back);
    grow(corpus, {above, told + 2 * n_texts, telling});
    lengths.resize(std::min(lengths.size(), static_cast<size_t>(settings_.most_nodes)));
    grow(asked, {above, std::accumulate(lengths.begin(), lengths.end(), int64_t{0}), prompts,
                 settings_.text_weight > 0 ? telling : 0});
  }
  if (questions.empty()) return corpus;
  if (settings_.corpus_steps == 0) return asked;
  return {std::max(corpus.all, asked.all), std::max(corpus.run, asked.run)};
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
                                            Generator& random) const {
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

// L_LM and L_AE: texts are told behind their own memories. The mean over texts of their losses per token.
//   nodes, texts  a text of each node; memories are those of the nodes, as they enter the model
double MemoryTrainer::telling_loss(Var memories, std::span<const int> nodes,
                                   std::span<const std::vector<TokenId>> texts, float weight, StepReport& report) {
  const bool asks_back = settings_.reconstruction_weight > 0;
  std::vector<Var> rows;
  std::vector<int32_t> targets;
  std::vector<float> weights;
  Batch batch;
  const auto tell = [&](size_t i, std::span<const TokenId> between, float share) {
    const auto& text = texts[i];
    std::vector<TokenId> tokens(between.begin(), between.end());
    tokens.insert(tokens.end(), text.begin(), text.end() - 1);
    rows.push_back(tape_.gathered(memories, {nodes[i]}));
    if (!tokens.empty()) rows.push_back(decoder_.embed(tape_, tokens));
    batch.add(static_cast<int>(tokens.size()) + 1);
    targets.insert(targets.end(), between.size(), 0);
    weights.insert(weights.end(), between.size(), 0.0f);
    targets.insert(targets.end(), text.begin(), text.end());
    weights.insert(weights.end(), text.size(), share / static_cast<float>(text.size() * texts.size()));
  };
  for (size_t i = 0; i < texts.size(); ++i) {
    tell(i, {}, weight);
    if (asks_back) tell(i, settings_.reconstruct, weight * settings_.reconstruction_weight);
  }
  report.tokens += batch.n_tokens();
  const Var hidden = decoder_.run(tape_, tape_.stacked(rows), batch);
  return decoder_.loss(tape_, hidden, std::move(targets), std::move(weights));
}

double MemoryTrainer::corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report) {
  Generator random(seed);
  const TrainingDocument& document = a_document(documents, random);
  const TextTree& tree = document.tree;
  std::vector<int> nodes = nodes_with_text(tree);
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
  const std::vector<int> places = with_numbers(chosen, numbers);
  for (size_t i = 0; i < places.size(); ++i) part.tokens[static_cast<size_t>(places[i])] = texts[i];
  const Var memories = memory_.weights().entered(tape_, memory_.build(tape_, part));
  report.tokens = n_tokens + 2 * static_cast<int64_t>(chosen.size());
  const double loss = telling_loss(memories, places, texts, 1, report);
  report.answer_loss = loss / (1 + double{settings_.reconstruction_weight});
  return loss;
}

// Whole texts of a part of a document, told so that learning to answer does not undo learning to tell.
double MemoryTrainer::retelling_loss(const TextTree& part, Var memories, std::span<const int> gold, Generator& random,
                                     StepReport& report) {
  if (settings_.text_weight == 0) return 0;
  std::vector<int> nodes = nodes_with_text(part), chosen;
  shuffle(nodes, random);
  std::stable_partition(nodes.begin(), nodes.end(),
                        [&](int node) { return std::find(gold.begin(), gold.end(), node) != gold.end(); });
  std::vector<std::vector<TokenId>> texts;
  size_t n_tokens = 0;
  for (const int node : nodes) {
    const auto& text = part.tokens[static_cast<size_t>(node)];
    if (!chosen.empty() && n_tokens + text.size() > static_cast<size_t>(settings_.tokens_per_corpus_step)) continue;
    chosen.push_back(node), texts.push_back(text), n_tokens += text.size();
  }
  const double loss = chosen.empty() ? 0 : telling_loss(memories, chosen, texts, settings_.text_weight, report);
  report.text_loss = loss / double{settings_.text_weight} / (1 + double{settings_.reconstruction_weight});
  return loss;
}

// L_gen, and L_route or L_sel.
double MemoryTrainer::question_loss(const TrainingDocument& document, const Questions& questions, uint64_t seed,
                                    StepReport& report) {
  Generator random(seed);
  std::vector<int> wanted;
  for (const TrainingQuestion* question : questions)
    wanted.insert(wanted.end(), question->gold.begin(), question->gold.end());
  std::vector<int> numbers;
  const TextTree tree = part_of(document.tree, wanted, settings_.most_nodes, seed, numbers);
  const Var memories = memory_.build(tape_, tree);
  const Var scores = memory_.scores(tape_, queries(questions), memories);
  const std::vector<float> values = tape_.read(scores);
  if (!tape_.status().ok()) return 0;

  const Var entered = memory_.weights().entered(tape_, memories);
  double loss = 0;
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < questions.size(); ++i) {
    const std::vector<int> gold = with_numbers(questions[i]->gold, numbers);
    const bool hands_gold = static_cast<double>(random() % 1000) >= 1000 * settings_.drop_gold;
    const std::span<const float> own = std::span(values).subspan(i * tree.size(), tree.size());
    const auto nodes = descend(tree.parents, own, settings_.descent, hands_gold ? gold : std::vector<int>());
    prompts.push_back({questions[i], tape_.gathered(entered, {nodes.begin(), nodes.end()}), {}});
    if (!gold.empty())
      loss += routing_loss(tree, scores, static_cast<int>(i), gold,
                           settings_.route_weight / static_cast<float>(questions.size()), report);
  }
  for (const auto& text : tree.tokens) report.tokens += static_cast<int64_t>(text.size());
  loss += retelling_loss(tree, entered, with_numbers(wanted, numbers), random, report);
  return loss + answer_loss(document, prompts, report);
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

namespace {

void count_reached(const TextTree& tree, const std::vector<int>& gold_leaves, const std::vector<int>& nodes,
                   AnswerCounts& counts) {
  std::vector<bool> counted(tree.size(), false);
  for (const int leaf : gold_leaves) {
    ++counts.leaves;
    counts.leaves_reached += contains(nodes, leaf) ? 1 : 0;
    std::vector<int> path;
    for (int node = leaf; node > 0; node = tree.parents[static_cast<size_t>(node)]) path.insert(path.begin(), node);
    for (size_t level = 0; level < path.size(); ++level) {
      if (counts.gold.size() <= level) counts.gold.resize(level + 1), counts.reached.resize(level + 1);
      if (counted[static_cast<size_t>(path[level])]) continue;
      counted[static_cast<size_t>(path[level])] = true;
      ++counts.gold[level];
      counts.reached[level] += contains(nodes, path[level]) ? 1 : 0;
    }
  }
  counts.memory_tokens += static_cast<double>(nodes.size());
}

}  // namespace

Status MemoryTrainer::score_document(const TrainingDocument& document, const Questions& questions, Routing routing,
                                     uint64_t seed, AnswerCounts& counts) {
  Generator random(seed);
  const TextTree& tree = document.tree;
  const Var memories = memory_.build(tape_, tree);
  const std::vector<float> values = tape_.read(memory_.scores(tape_, queries(questions), memories));
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
    count_reached(tree, gold, nodes, counts);
    tape_.aside([&] {
      const Var rows = tape_.gathered(memories, {nodes.begin(), nodes.end()});
      score_answer(document, {questions[i], memory_.weights().entered(tape_, rows), {}}, counts);
    });
    LL_RETURN_IF_ERROR(tape_.status());
  }
  return {};
}

}  // namespace longleaf::train
