// Trains the recurrent memory of HMT (arXiv 2405.06067, section 3 and appendix D): texts are told segment by segment,
// first without recall and two segments deep, then with it; then questions are answered behind what they recall of a
// document. Gradients go back through all segments of a step. Not thread-safe: one thread owns it.
#pragma once

#include <span>
#include <vector>

#include "engine/train/recurrent_model.h"
#include "engine/train/trainer.h"

namespace longleaf::train {

class RecurrentTrainer : public Trainer {
 public:
  // All outlive the object. REQUIRES: the memory's method is Recurrent.
  RecurrentTrainer(const Decoder& decoder, const MemoryModel& memory, Parameters& parameters,
                   const kernels::Backend& backend, const MemoryTrainingSettings& settings)
      : decoder_(decoder),
        memory_(memory),
        model_(decoder, memory),
        parameters_(parameters),
        settings_(settings),
        tape_(backend) {}

  Result<StepReport> step(std::span<const TrainingDocument> documents,
                          std::span<const TrainingQuestion> questions) override;
  Result<MemoryScores> score(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                             Routing routing = Routing::Learned) override;

 private:
  const MemorySettings& memory_settings() const { return memory_.weights().settings(); }
  double corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report);
  double question_loss(const TrainingDocument& document, const std::vector<const TrainingQuestion*>& questions,
                       uint64_t seed, StepReport& report);
  struct Counts;
  Status score_document(const TrainingDocument& document, std::span<const TrainingQuestion* const> questions,
                        Routing routing, uint64_t seed, Counts& counts);
  // Rows of the model behind [opening; given; sensory; asked; answer] of each question, at the answers' tokens.
  //   given  (n_questions, d_model)
  Var answer_rows(const TrainingDocument& document, const Segments& text, Var given,
                  std::span<const TrainingQuestion* const> questions, std::vector<int32_t>& targets);

  const Decoder& decoder_;
  const MemoryModel& memory_;
  RecurrentModel model_;
  Parameters& parameters_;
  MemoryTrainingSettings settings_;
  Tape tape_;
  int64_t tokens_ = 0;  // of the prompts computed last
};

}  // namespace longleaf::train
