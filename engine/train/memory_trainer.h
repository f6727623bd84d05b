// Trains the memory of H²MT (arXiv 2605.24930, section 3.4 and appendix E). Not thread-safe: one thread owns it.
#pragma once

#include <span>
#include <vector>

#include "engine/train/memory_model.h"
#include "engine/train/sampling.h"

namespace longleaf::train {

class MemoryTrainer : public Trainer {
 public:
  // All outlive the object. REQUIRES: some document has text, questions have documents.
  MemoryTrainer(const Decoder& decoder, const MemoryModel& memory, Parameters& parameters,
                const kernels::Backend& backend, const MemoryTrainingSettings& settings)
      : decoder_(decoder), memory_(memory), parameters_(parameters), settings_(settings), tape_(backend) {}

  Result<StepReport> step(std::span<const TrainingDocument> documents,
                          std::span<const TrainingQuestion> questions) override;
  Result<MemoryScores> score(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                             Routing routing = Routing::Learned) override;

  size_t tape_bytes() const { return tape_.bytes(); }

 private:
  struct Reached {  // by one question
    std::vector<int> nodes;
    const TrainingQuestion* question;
  };
  double corpus_loss(const TrainingDocument& document, uint64_t seed, StepReport& report);
  size_t longest_stretch(const TrainingDocument& document, int64_t step) const;
  std::vector<TokenId> stretch(const TrainingDocument& document, int node, size_t longest, Random& random) const;
  double question_loss(const TrainingDocument& document, std::span<const TrainingQuestion* const> questions,
                       uint64_t seed, StepReport& report);
  double routing_loss(const TextTree& tree, Var scores, int row, const std::vector<int>& gold, float weight,
                      StepReport& report);
  struct Counts;
  Status score_document(const TrainingDocument& document, std::span<const TrainingQuestion* const> questions,
                        Routing routing, uint64_t seed, Counts& counts);
  void score_answer(const TrainingDocument& document, Var memories, const Reached& reached, Counts& counts);
  // Rows of the model behind [opening; memories; asked; answer] of each, at the answers' tokens.
  Var answer_rows(const TrainingDocument& document, Var memories, std::span<const Reached> reached,
                  std::vector<int32_t>& targets);

  const Decoder& decoder_;
  const MemoryModel& memory_;
  Parameters& parameters_;
  MemoryTrainingSettings settings_;
  Tape tape_;
  int64_t tokens_ = 0;  // of the prompts computed last
};

// A part of a tree: `wanted` nodes with their ancestors, and others at random with theirs, `most` in all where the
// wanted are fewer. `numbers` gets, for every node of the tree, its number in the part, or -1.
TextTree part_of(const TextTree& tree, std::span<const int> wanted, int most, uint64_t seed, std::vector<int>& numbers);

}  // namespace longleaf::train
