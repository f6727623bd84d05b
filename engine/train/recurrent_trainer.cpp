#include "engine/train/recurrent_trainer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <set>

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

// How much of what is recalled of the chosen segments, by their scores, is gold.
double share_of(const std::vector<int>& gold, const std::vector<int>& chosen, std::span<const float> scores) {
  double top = -INFINITY, all = 0, golden = 0;
  for (const int i : chosen) top = std::max(top, double{scores[static_cast<size_t>(i)]});
  for (const int i : chosen) {
    const double share = std::exp(double{scores[static_cast<size_t>(i)]} - top);
    all += share;
    if (std::binary_search(gold.begin(), gold.end(), i)) golden += share;
  }
  return all > 0 ? golden / all : 0;
}

}  // namespace

size_t RecurrentTrainer::segments_per_corpus_step() const {
  return static_cast<size_t>(std::max(1, settings_.tokens_per_corpus_step / memory_settings().segment_tokens));
}

size_t RecurrentTrainer::parts_of(const TrainingDocument& document, const TrainingQuestion& question) const {
  return gold_segments(segments(document), question).size();
}

// A question recalls no more of a step than of a document.
size_t RecurrentTrainer::most_parts() const {
  return static_cast<size_t>(std::min(settings_.most_segments, memory_settings().recalled));
}

StepTokens RecurrentTrainer::most_tokens(std::span<const TrainingDocument> documents,
                                         std::span<const TrainingQuestion> questions) const {
  const MemorySettings& m = memory_settings();
  // A segment, what is read with it, and its summary.
  const int64_t of_segment = m.segment_tokens + m.sensory_tokens + 2 + (m.segment_tokens + 1) / 2 + 2;
  size_t longest = 0;
  for (const TrainingDocument& document : documents) longest = std::max(longest, segments(document).size());
  // Texts are read side by side; of a text, one segment at a time.
  const auto corpus = static_cast<int64_t>(segments_per_corpus_step()) * of_segment;
  if (questions.empty()) return {corpus, corpus};
  const auto read = static_cast<int64_t>(std::min(most_parts(), longest)) * of_segment;
  const int64_t prompts = most_prompt_tokens(documents, questions, 1 + m.sensory_tokens);
  const StepTokens asked{read + prompts, std::max(of_segment, prompts)};
  if (settings_.corpus_steps == 0) return asked;
  return {std::max(corpus, asked.all), std::max(corpus, asked.run)};
}

// Stretches of texts, each told behind what stands in front of it.
double RecurrentTrainer::corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report) {
  Generator random(seed);
  const auto steps = static_cast<double>(settings_.corpus_steps);
  const bool recalls = static_cast<double>(report.step) > std::floor(kWithoutRecall * steps);
  const auto most = static_cast<size_t>(settings_.most_segments);
  const size_t depth = recalls ? most : std::min(kFirstSegments, most);
  std::vector<std::unique_ptr<const Segments>> texts;
  std::vector<RecurrentModel::Window> windows;
  for (size_t left = segments_per_corpus_step(); left > 0; left -= windows.back().segments.size()) {
    texts.push_back(std::make_unique<const Segments>(segments(a_document(documents, random))));
    const size_t n = std::min({depth, texts.back()->size(), left});
    const auto first = static_cast<int>(below(random, texts.back()->size() - n + 1));
    windows.push_back({texts.back().get(), {}});
    for (size_t i = 0; i < n; ++i) windows.back().segments.push_back(first + static_cast<int>(i));
  }
  using From = RecurrentModel::From;
  auto reading = model_.read(tape_, windows, recalls ? From::Recall : From::Last, true);
  report.tokens = reading.tokens;
  const std::vector<float> weights(reading.targets.size(), 1.0f / static_cast<float>(reading.targets.size()));
  report.answer_loss = decoder_.loss(tape_, reading.rows, std::move(reading.targets), weights);
  return report.answer_loss;
}

// The gold ones, and others at random, as many as there is room for; rising.
std::vector<int> RecurrentTrainer::segments_to_read(const Segments& text, const Questions& questions,
                                                    uint64_t seed) const {
  Generator random(seed);
  std::set<int> wanted;
  for (const TrainingQuestion* question : questions)
    for (const int number : gold_segments(text, *question)) wanted.insert(number);
  std::vector<int> order(wanted.begin(), wanted.end()), others;
  for (int i = 0; i < static_cast<int>(text.size()); ++i)
    if (wanted.count(i) == 0) others.push_back(i);
  shuffle(order, random);
  shuffle(others, random);
  order.insert(order.end(), others.begin(), others.end());
  order.resize(std::min(order.size(), most_parts()));
  std::sort(order.begin(), order.end());
  return order;
}

// Answers behind what questions recall of their gold segments and others, and that they recall the gold ones.
double RecurrentTrainer::question_loss(const TrainingDocument& document, const Questions& questions, uint64_t seed,
                                       StepReport& report) {
  const Segments text = segments(document);
  const std::vector<int> read = segments_to_read(text, questions, seed);
  const auto reading = model_.read(tape_, {{&text, read}}, RecurrentModel::From::Recall, false);
  report.tokens += reading.tokens;
  const Var memories = reading.memories.front(), summaries = queries(questions);
  const Var scores = read.empty() ? Var{} : memory_.scores(tape_, summaries, memories);
  const float weight = settings_.route_weight / static_cast<float>(questions.size());
  double loss = 0;
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < questions.size(); ++i) {
    const auto row = static_cast<int32_t>(i);
    const Var given = model_.given(tape_, tape_.gathered(summaries, {row}), memories);
    prompts.push_back({questions[i], given, text.with_front(text.size(), memory_settings().sensory_tokens)});
    loss += recall_loss(scores, row, read, gold_segments(text, *questions[i]), weight);
  }
  report.route_loss = settings_.route_weight > 0 ? loss / double{settings_.route_weight} : 0;
  return loss + answer_loss(document, prompts, report);
}

// That one question, a row of the scores, recalls the gold ones of the segments that were read.
double RecurrentTrainer::recall_loss(Var scores, int row, const std::vector<int>& read, const std::vector<int>& gold,
                                     float weight) {
  const auto n = static_cast<int32_t>(read.size());
  std::vector<int> places;
  for (int32_t i = 0; i < n; ++i)
    if (std::binary_search(gold.begin(), gold.end(), read[static_cast<size_t>(i)])) places.push_back(i);
  if (places.empty() || static_cast<int32_t>(places.size()) == n) return 0;
  return MemoryModel::route_loss(tape_, tape_.gathered(scores, {row}), places, settings_.temperature, weight);
}

Status RecurrentTrainer::score_document(const TrainingDocument& document, const Questions& questions, Routing routing,
                                        uint64_t seed, AnswerCounts& counts) {
  Generator random(seed);
  const Segments text = segments(document);
  std::vector<int> all(text.size());
  std::iota(all.begin(), all.end(), 0);
  const Var memories = model_.read(tape_, {{&text, all}}, RecurrentModel::From::Recall, false).memories.front();
  const Var summaries = queries(questions);
  std::vector<float> values;
  if (!all.empty()) values = tape_.read(memory_.scores(tape_, summaries, memories));
  LL_RETURN_IF_ERROR(tape_.status());
  const size_t cached = std::min(all.size(), static_cast<size_t>(memory_settings().recalled));
  for (size_t i = 0; i < questions.size(); ++i) {
    const std::vector<int> gold = gold_segments(text, *questions[i]);
    std::vector<int> chosen(all.end() - static_cast<long>(cached), all.end());
    if (routing == Routing::Gold && !gold.empty()) chosen = gold;
    if (routing == Routing::Random) {  // as many as are gold
      shuffle(chosen, random);
      chosen.resize(std::min(chosen.size(), std::max<size_t>(1, gold.size())));
    }
    if (!gold.empty()) {
      ++counts.leaves;
      counts.leaves_reached += share_of(gold, chosen, std::span(values).subspan(i * all.size(), all.size()));
    }
    ++counts.memory_tokens;
    tape_.aside([&] {
      const Var from = chosen.empty() ? Var{} : tape_.gathered(memories, {chosen.begin(), chosen.end()});
      const Var given = model_.given(tape_, tape_.gathered(summaries, {static_cast<int32_t>(i)}), from);
      const auto sensory = text.with_front(text.size(), memory_settings().sensory_tokens);
      score_answer(document, {questions[i], given, sensory}, counts);
    });
    LL_RETURN_IF_ERROR(tape_.status());
  }
  return {};
}

}  // namespace longleaf::train
