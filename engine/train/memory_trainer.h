// Trains the memory of H²MT (arXiv 2605.24930, section 3.4 and appendix E). Not thread-safe: one thread owns it.
#pragma once

#include <span>
#include <vector>

#include "engine/train/trainer.h"

namespace longleaf::train {

class MemoryTrainer : public Trainer {
 public:
  // All outlive the object.
  MemoryTrainer(const Decoder& decoder, const MemoryModel& memory, Parameters& parameters,
                const kernels::Backend& backend, const MemoryTrainingSettings& settings)
      : Trainer(decoder, memory, parameters, backend, settings) {}

  StepTokens most_tokens(std::span<const TrainingDocument> documents,
                         std::span<const TrainingQuestion> questions) const override;

 private:
  double corpus_loss(std::span<const TrainingDocument> documents, uint64_t seed, StepReport& report) override;
  size_t parts_of(const TrainingDocument& document, const TrainingQuestion& question) const override;
  size_t most_parts() const override { return static_cast<size_t>(settings_.most_nodes); }
  double question_loss(const TrainingDocument& document, const Questions& questions, uint64_t seed,
                       StepReport& report) override;
  Status score_document(const TrainingDocument& document, const Questions& questions, Routing routing, uint64_t seed,
                        AnswerCounts& counts) override;

  size_t longest_stretch(const TrainingDocument& document, int64_t step) const;
  std::vector<TokenId> stretch(const TrainingDocument& document, int node, size_t longest, Generator& random) const;
  double telling_loss(Var memories, std::span<const int> nodes, std::span<const std::vector<TokenId>> texts,
                      float weight, StepReport& report);
  double retelling_loss(const TextTree& part, Var memories, std::span<const int> gold, Generator& random,
                        StepReport& report);
  double routing_loss(const TextTree& tree, Var scores, int row, const std::vector<int>& gold, float weight,
                      StepReport& report);
};

// A part of a tree: `wanted` nodes with their ancestors, and others at random with theirs, `most` in all where the
// wanted are fewer. `numbers` gets, for every node of the tree, its number in the part, or -1.
TextTree part_of(const TextTree& tree, std::span<const int> wanted, int most, uint64_t seed, std::vector<int>& numbers);

}  // namespace longleaf::train
