#include "engine/train/recurrent_trainer.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/train/sampling.h"

namespace longleaf::train {
namespace {

// Of the steps on text, those without recall, and how many segments they are deep (appendix D: 200 of 700).
constexpr double kWithoutRecall = 2.0 / 7;
constexpr size_t kFirstSegments = 2;

std::vector<int> gold_segments(const Segments& text, const TrainingQuestion& question) {
  std::set<int> numbers;
  for (const int leaf : question.gold)
    for (const int number : text.of_node(leaf)) numbers.insert(number);
  return {numbers.begin(), numbers.end()};
}

std::vector<std::span<const TokenId>> words_of(std::span<const TrainingQuestion* const> questions) {
  std::vector<std::span<const TokenId>> words;
  for (const TrainingQuestion* question : questions) words.push_back(question->words);
  return words;
}

}  // namespace

Result<StepReport> RecurrentTrainer::step(std::span<const TrainingDocument> documents,
                                          std::span<const TrainingQuestion> questions) {
  StepReport report;
  report.step = parameters_.steps() + 1;
  report.corpus = report.step <= settings_.corpus_steps || questions.empty();
  Random random(seed_of(settings_.seed, report.step));
  tape_.clear();
  if (report.corpus) {
    report.loss = corpus_loss(documents, random(), report);
  } else {
    const auto chosen = some_questions(questions, static_cast<size_t>(settings_.questions_per_step),
                                       static_cast<size_t>(settings_.most_segments), random);
    report.loss = question_loss(documents[chosen.front()->document], chosen, random(), report);
  }
  LL_RETURN_IF_ERROR(tape_.backward());
  LL_ASSIGN_OR_RETURN(report.gradient, parameters_.step(settings_.optimizer));
  return report;
}

// Stretches of texts, each told behind what stands in front of it.
double RecurrentTrainer::corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report) {
  Random random(seed);
  const auto steps = static_cast<double>(settings_.corpus_steps);
  const bool recalls = static_cast<double>(report.step) > std::floor(kWithoutRecall * steps);
  const auto most = static_cast<size_t>(settings_.most_segments);
  const size_t depth = recalls ? most : std::min(kFirstSegments, most);
  const auto room = static_cast<size_t>(settings_.tokens_per_corpus_step / memory_settings().segment_tokens);
  const size_t n_windows = std::max<size_t>(1, room / depth);
  std::vector<Segments> texts;
  texts.reserve(n_windows);
  std::vector<RecurrentModel::Window> windows;
  for (size_t w = 0; w < n_windows; ++w) {
    texts.emplace_back(a_document(documents, random).tree, memory_settings().segment_tokens);
    const size_t n = std::min(depth, texts.back().size());
    const auto first = static_cast<int>(below(random, texts.back().size() - n + 1));
    windows.push_back({&texts.back(), {}});
    for (size_t i = 0; i < n; ++i) windows.back().segments.push_back(first + static_cast<int>(i));
  }
  using From = RecurrentModel::From;
  auto reading = model_.read(tape_, windows, recalls ? From::Recall : From::Last, true);
  report.tokens = reading.tokens;
  const std::vector<float> weights(reading.targets.size(), 1.0f / static_cast<float>(reading.targets.size()));
  report.answer_loss = decoder_.loss(tape_, reading.rows, std::move(reading.targets), weights);
  return report.answer_loss;
}

// Answers behind what questions recall of their gold segments and others, and that they recall the gold ones.
double RecurrentTrainer::question_loss(const TrainingDocument& document,
                                       const std::vector<const TrainingQuestion*>& questions, uint64_t seed,
                                       StepReport& report) {
  Random random(seed);
  const Segments text(document.tree, memory_settings().segment_tokens);
  std::set<int> read;
  for (const TrainingQuestion* question : questions)
    for (const int number : gold_segments(text, *question)) read.insert(number);
  std::vector<int> others;
  for (size_t i = 0; i < text.size(); ++i) others.push_back(static_cast<int>(i));
  shuffle(others, random);
  for (const int number : others)
    if (read.size() < static_cast<size_t>(settings_.most_segments)) read.insert(number);
  const std::vector<int> numbers(read.begin(), read.end());
  const auto reading = model_.read(tape_, {{&text, numbers}}, RecurrentModel::From::Recall, false);
  const Var memories = reading.memories.front(), summaries = memory_.queries(tape_, words_of(questions));
  const auto n = static_cast<int32_t>(numbers.size());
  const Var scores = n == 0 ? Var{}
                            : tape_.reshaped(memory_.scores(tape_, summaries, memories),
                                             static_cast<int>(questions.size()) * tape_.rows(memories), 1);
  double loss = 0;
  std::vector<Var> given;
  for (size_t i = 0; i < questions.size(); ++i) {
    const auto row = static_cast<int32_t>(i);
    given.push_back(model_.given(tape_, tape_.gathered(summaries, {row}), memories));
    std::vector<int> gold;
    for (const int number : gold_segments(text, *questions[i]))
      gold.push_back(static_cast<int>(std::lower_bound(numbers.begin(), numbers.end(), number) - numbers.begin()));
    if (gold.empty() || static_cast<int32_t>(gold.size()) == n) continue;
    std::vector<int32_t> places;
    for (int32_t j = 0; j < n; ++j) places.push_back(row * n + j);
    loss +=
        MemoryModel::route_loss(tape_, tape_.reshaped(tape_.gathered(scores, std::move(places)), 1, n), gold,
                                settings_.temperature, settings_.route_weight / static_cast<float>(questions.size()));
  }
  report.route_loss = settings_.route_weight > 0 ? loss / double{settings_.route_weight} : 0;
  std::vector<int32_t> targets;
  tokens_ = 0;
  const Var rows = answer_rows(document, text, tape_.stacked(given), questions, targets);
  report.tokens = tokens_ + reading.tokens;
  const std::vector<float> weights(targets.size(), 1.0f / static_cast<float>(targets.size()));
  report.answer_loss = decoder_.loss(tape_, rows, std::move(targets), weights);
  return loss + report.answer_loss;
}

Var RecurrentTrainer::answer_rows(const TrainingDocument& document, const Segments& text, Var given,
                                  std::span<const TrainingQuestion* const> questions, std::vector<int32_t>& targets) {
  const auto sensory = text.with_front(text.size(), memory_settings().sensory_tokens);
  const Var opening = document.opening.empty() ? Var{} : decoder_.embed(tape_, document.opening);
  std::vector<Var> parts;
  std::vector<int32_t> places;
  Batch batch;
  for (size_t i = 0; i < questions.size(); ++i) {
    const TrainingQuestion& q = *questions[i];
    std::vector<TokenId> tokens(sensory.begin(), sensory.end());
    tokens.insert(tokens.end(), q.asked.begin(), q.asked.end());
    const size_t front = document.opening.size() + 1 + tokens.size();
    tokens.insert(tokens.end(), q.answer.begin(), q.answer.end() - 1);
    if (opening.index >= 0) parts.push_back(opening);
    parts.push_back(tape_.gathered(given, {static_cast<int32_t>(i)}));
    parts.push_back(decoder_.embed(tape_, tokens));
    const int first = batch.n_tokens() + static_cast<int>(front) - 1;
    batch.add(static_cast<int>(front + q.answer.size()) - 1);
    for (size_t j = 0; j < q.answer.size(); ++j) places.push_back(first + static_cast<int>(j));
    targets.insert(targets.end(), q.answer.begin(), q.answer.end());
  }
  tokens_ += batch.n_tokens();
  return tape_.gathered(decoder_.run(tape_, tape_.stacked(parts), batch), std::move(places));
}

struct RecurrentTrainer::Counts {
  double answer_tokens = 0, loss = 0, right = 0, gold_share = 0, with_gold = 0, questions = 0;
};

Result<MemoryScores> RecurrentTrainer::score(std::span<const TrainingDocument> documents,
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
  MemoryScores s;
  s.questions = static_cast<size_t>(counts.questions);
  if (s.questions == 0) return s;
  s.answer_loss = counts.loss / counts.answer_tokens;
  s.right = counts.right / counts.questions;
  s.gold_leaves_survive = counts.with_gold > 0 ? counts.gold_share / counts.with_gold : 0;
  s.memory_tokens = 1;
  return s;
}

Status RecurrentTrainer::score_document(const TrainingDocument& document,
                                        std::span<const TrainingQuestion* const> questions, Routing routing,
                                        uint64_t seed, Counts& counts) {
  Random random(seed);
  const Segments text(document.tree, memory_settings().segment_tokens);
  std::vector<int> numbers;
  for (size_t i = 0; i < text.size(); ++i) numbers.push_back(static_cast<int>(i));
  const Var memories = model_.read(tape_, {{&text, numbers}}, RecurrentModel::From::Recall, false).memories.front();
  const Var summaries = memory_.queries(tape_, words_of(questions));
  std::vector<float> shares;
  if (!numbers.empty()) shares = tape_.read(tape_.softmax(memory_.scores(tape_, summaries, memories)));
  LL_RETURN_IF_ERROR(tape_.status());
  for (size_t i = 0; i < questions.size(); ++i) {
    const std::vector<int> gold = gold_segments(text, *questions[i]);
    for (const int number : gold) counts.gold_share += double{shares[i * text.size() + static_cast<size_t>(number)]};
    counts.with_gold += gold.empty() ? 0 : 1;
    const auto random_one = static_cast<int32_t>(below(random, std::max<size_t>(1, text.size())));
    tape_.aside([&] {
      Var from = memories;
      if (routing == Routing::Gold && !gold.empty()) from = tape_.gathered(memories, {gold.begin(), gold.end()});
      if (routing == Routing::Random && !numbers.empty()) from = tape_.gathered(memories, {random_one});
      const Var given = model_.given(tape_, tape_.gathered(summaries, {static_cast<int32_t>(i)}), from);
      std::vector<int32_t> targets;
      const Var rows = answer_rows(document, text, given, questions.subspan(i, 1), targets);
      const Decoder::Guesses guesses = decoder_.guess(tape_, rows, targets);
      counts.loss += guesses.loss;
      counts.right += std::equal(guesses.tokens.begin(), guesses.tokens.end(), targets.begin(), targets.end()) ? 1 : 0;
      counts.answer_tokens += static_cast<double>(targets.size());
      ++counts.questions;
    });
    LL_RETURN_IF_ERROR(tape_.status());
  }
  return {};
}

}  // namespace longleaf::train
