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
      : Trainer(decoder, memory, parameters, backend, settings), model_(decoder, memory) {}

  StepTokens most_tokens(std::span<const TrainingDocument> documents,
                         std::span<const TrainingQuestion> questions) const override;

 private:
  const MemorySettings& memory_settings() const { return memory_.weights().settings(); }
  Segments segments(const TrainingDocument& document) const {
    return Segments(document.tree, memory_settings().segment_tokens);
  }
  // That a step on text reads, of all windows together.
  size_t segments_per_corpus_step() const;
  double corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report) override;
  size_t parts_of(const TrainingDocument& document, const TrainingQuestion& question) const override;
  size_t most_parts() const override;
  double question_loss(const TrainingDocument& document, const Questions& questions, uint64_t seed,
                       StepReport& report) override;
  std::vector<int> segments_to_read(const Segments& text, const Questions& questions, uint64_t seed) const;
  double recall_loss(Var scores, int row, const std::vector<int>& read, const std::vector<int>& gold, float weight);
  Status score_document(const TrainingDocument& document, const Questions& questions, Routing routing, uint64_t seed,
                        AnswerCounts& counts) override;

  RecurrentModel model_;
};

}  // namespace longleaf::train
