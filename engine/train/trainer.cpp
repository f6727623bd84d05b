#include "engine/train/trainer.h"

#include <algorithm>

namespace longleaf::train {

MemoryScores AnswerCounts::scores() const {
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

Result<StepReport> Trainer::step(std::span<const TrainingDocument> documents,
                                 std::span<const TrainingQuestion> questions, std::stop_token stop) {
  LL_ASSIGN_OR_RETURN(StepReport report, compute(documents, questions, parameters_.steps() + 1, std::move(stop)));
  LL_ASSIGN_OR_RETURN(report.gradient, parameters_.step(settings_.optimizer));
  return report;
}

Status Trainer::rehearse(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                         int64_t step, std::stop_token stop) {
  LL_RETURN_IF_ERROR(compute(documents, questions, step, std::move(stop)).status());
  LL_RETURN_IF_ERROR(parameters_.gradient_norm().status());  // which a step begins to learn with, and waits for
  return parameters_.clear_gradients();
}

Result<StepReport> Trainer::compute(std::span<const TrainingDocument> documents,
                                    std::span<const TrainingQuestion> questions, int64_t step, std::stop_token stop) {
  StepReport report;
  report.step = step;
  report.corpus = step <= settings_.corpus_steps || questions.empty();
  Generator random(seed_of(settings_.seed, step));
  tape_.clear();
  tape_.heed(std::move(stop));
  if (report.corpus) {
    report.loss = corpus_loss(documents, random(), report);
  } else {
    // What holds their answers is all read: no more questions than have room.
    const auto parts = [&](const TrainingQuestion& q) { return parts_of(documents[q.document], q); };
    const Questions chosen =
        some_questions(questions, static_cast<size_t>(settings_.questions_per_step), most_parts(), parts, random);
    report.tokens = query_tokens(chosen);
    report.loss = question_loss(documents[chosen.front()->document], chosen, random(), report);
  }
  if (Status failure = tape_.backward(); !failure.ok()) {
    (void)parameters_.clear_gradients();  // of half a step
    return failure;
  }
  return report;
}

Result<MemoryScores> Trainer::score(std::span<const TrainingDocument> documents,
                                    std::span<const TrainingQuestion> questions, Routing routing,
                                    std::stop_token stop) {
  AnswerCounts counts;
  for (size_t d = 0; d < documents.size(); ++d) {
    Questions own;
    for (const TrainingQuestion& question : questions)
      if (question.document == d) own.push_back(&question);
    if (own.empty()) continue;
    tape_.clear();
    tape_.heed(stop);
    tape_.record(false);
    const Status status =
        score_document(documents[d], own, routing, seed_of(settings_.seed, static_cast<int64_t>(d)), counts);
    tape_.record(true);
    LL_RETURN_IF_ERROR(status);
  }
  return counts.scores();
}

Var Trainer::queries(const Questions& questions) {
  std::vector<std::span<const TokenId>> words;
  for (const TrainingQuestion* question : questions) words.push_back(question->words);
  return memory_.queries(tape_, words);
}

int64_t Trainer::query_tokens(const Questions& questions) {
  int64_t n = 0;
  for (const TrainingQuestion* question : questions) n += static_cast<int64_t>(question->words.size()) + 2;
  return n;
}

int64_t Trainer::most_prompt_tokens(std::span<const TrainingDocument> documents,
                                    std::span<const TrainingQuestion> questions, int64_t given) const {
  size_t most = 0;
  for (const TrainingQuestion& q : questions)
    most = std::max(most, documents[q.document].opening.size() + q.words.size() + 2 + q.asked.size() + q.answer.size());
  return settings_.questions_per_step * (static_cast<int64_t>(most) + given);
}

double Trainer::answer_loss(const TrainingDocument& document, std::span<const Prompt> prompts, StepReport& report) {
  std::vector<int32_t> targets;
  const Var rows = answer_rows(document, prompts, targets, report.tokens);
  const std::vector<float> weights(targets.size(), 1.0f / static_cast<float>(targets.size()));
  report.answer_loss = decoder_.loss(tape_, rows, std::move(targets), weights);
  return report.answer_loss;
}

void Trainer::score_answer(const TrainingDocument& document, const Prompt& prompt, AnswerCounts& counts) {
  std::vector<int32_t> targets;
  int64_t n_tokens = 0;
  const Var rows = answer_rows(document, {&prompt, 1}, targets, n_tokens);
  const Decoder::Guesses guesses = decoder_.guess(tape_, rows, targets);
  counts.loss += guesses.loss;
  counts.right += std::equal(guesses.tokens.begin(), guesses.tokens.end(), targets.begin(), targets.end()) ? 1 : 0;
  counts.answer_tokens += static_cast<double>(targets.size());
  ++counts.questions;
}

Var Trainer::answer_rows(const TrainingDocument& document, std::span<const Prompt> prompts,
                         std::vector<int32_t>& targets, int64_t& n_tokens) {
  const Var opening = document.opening.empty() ? Var{} : decoder_.embed(tape_, document.opening);
  std::vector<Var> parts;
  std::vector<int32_t> places;
  Batch batch;
  for (const Prompt& prompt : prompts) {
    const TrainingQuestion& q = *prompt.question;
    std::vector<TokenId> tokens(prompt.text.begin(), prompt.text.end());
    tokens.insert(tokens.end(), q.asked.begin(), q.asked.end());
    const auto front = static_cast<int>(document.opening.size() + tokens.size()) + tape_.rows(prompt.given);
    tokens.insert(tokens.end(), q.answer.begin(), q.answer.end() - 1);
    if (opening.index >= 0) parts.push_back(opening);
    parts.push_back(prompt.given);
    parts.push_back(decoder_.embed(tape_, tokens));
    const int first = batch.n_tokens() + front - 1;
    batch.add(front + static_cast<int>(q.answer.size()) - 1);
    for (size_t i = 0; i < q.answer.size(); ++i) places.push_back(first + static_cast<int>(i));
    targets.insert(targets.end(), q.answer.begin(), q.answer.end());
  }
  n_tokens += batch.n_tokens();
  return tape_.gathered(decoder_.run(tape_, tape_.stacked(parts), batch), std::move(places));
}

}  // namespace longleaf::train
