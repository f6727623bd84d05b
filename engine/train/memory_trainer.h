// Trains the memory of a model on documents, and on questions about them (H²MT, arXiv 2605.24930, section 3.4 and
// appendix E). What a step looks at follows from its number alone, so a training that is taken up again goes on to the
// same bits.
// Not thread-safe: one thread owns it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/routing/descent.h"
#include "engine/train/memory_model.h"

namespace longleaf::train {

struct TrainingDocument {
  std::vector<TokenId> opening;  // of a prompt, in front of the evidence
  TextTree tree;
};

struct TrainingQuestion {
  size_t document = 0;
  std::vector<TokenId> words;   // of the question alone, for its vector
  std::vector<TokenId> asked;   // the rest of the prompt, behind the evidence
  std::vector<TokenId> answer;  // with the token that ends it
  std::vector<int> gold;        // leaves that hold the answer; none: only answering is trained
};

struct MemoryTrainingSettings {
  OptimizerSettings optimizer;
  int64_t corpus_steps = 0;  // first these, then questions until optimizer.total_steps
  int tokens_per_corpus_step = 2048;
  int questions_per_step = 8;  // about one document
  int most_nodes = 64;         // of a document that a step encodes: the gold ones and others at random
  float route_weight = 1, reconstruction_weight = 0, temperature = 1;
  double drop_gold = 0.1;  // how often a gold leaf that routing misses is not handed to the model
  DescentOptions descent;
  std::vector<TokenId> reconstruct;  // what asks for a text back, between its memory and the text
  uint64_t seed = 1;
};

struct StepReport {
  int64_t step = 0;
  bool corpus = false;
  double loss = 0;         // all that was trained on
  double answer_loss = 0;  // per token; of texts in the corpus stage
  double route_loss = 0;   // per parent on a gold path
  double gradient = 0;     // its norm before the clip
  int64_t tokens = 0;      // that were computed
};

// Over questions that were held out.
struct MemoryScores {
  size_t questions = 0;
  double answer_loss = 0;             // per token, with what routing reached
  double right = 0;                   // share of answers whose every token is the likeliest
  std::vector<double> gold_survives;  // share of gold nodes that routing reaches, per level below the root
  double gold_leaves_survive = 0;
  double memory_tokens = 0;  // on average
};

class MemoryTrainer {
 public:
  // All outlive the object. REQUIRES: some document has text, questions have documents.
  MemoryTrainer(const Decoder& decoder, const MemoryModel& memory, Parameters& parameters,
                const kernels::Backend& backend, const MemoryTrainingSettings& settings)
      : decoder_(decoder), memory_(memory), parameters_(parameters), settings_(settings), tape_(backend) {}

  // The step behind the last that `parameters` has made. Returns Invalid where gradients are no numbers any more: the
  // parameters are then as they were.
  Result<StepReport> step(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions);
  // How questions are routed: as trained, or for comparison to their gold leaves, or to as many others at random.
  enum class Routing { Learned, Gold, Random };
  Result<MemoryScores> score(std::span<const TrainingDocument> documents, std::span<const TrainingQuestion> questions,
                             Routing routing = Routing::Learned);

  size_t tape_bytes() const { return tape_.bytes(); }

 private:
  struct Reached {  // by one question
    std::vector<int> nodes;
    const TrainingQuestion* question;
  };
  double corpus_loss(const TrainingDocument& document, uint64_t seed, StepReport& report);
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
