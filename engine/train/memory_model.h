// A learned memory on a tape, written and read by the language model itself: texts and questions as vectors, how they
// compare, and of H²MT (arXiv 2605.24930, whose sections are named) a vector per node of a document's tree.
// Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/memory/text_tree.h"
#include "engine/train/decoder.h"
#include "engine/train/memory_weights.h"

namespace longleaf::train {

class MemoryModel {
 public:
  // `parameters` gets what is trained. All outlive the object. Returns NoMemory.
  static Result<std::unique_ptr<MemoryModel>> create(const Decoder& decoder, Parameters& parameters,
                                                     const MemorySettings& settings);
  const MemoryWeights& weights() const { return *weights_; }

  // A vector per text (section 3.2.1): (n, d_model), the state of e_read in [e_write; inner; text; e_read]. Where the
  // tape does not record, texts are read some at a time, so that memory does not grow with their number.
  struct Text {
    std::span<const TokenId> tokens;
    int inner = -1;  // a row of `inner` in front of the text; -1: none
  };
  Var read(Tape& tape, std::span<const Text> texts, Var inner = {}) const;

  // Memories of all nodes, children first, all nodes of a depth at once (section 3.2.2): (n_nodes, d_model).
  Var build(Tape& tape, const TextTree& tree) const;

  // Vectors of questions (section 3.3): (n, d_model).
  Var queries(Tape& tape, std::span<const std::span<const TokenId>> questions) const;
  // How well each memory answers each: (n_questions, n_memories).
  Var scores(Tape& tape, Var queries, Var memories) const;

  // -log of the share that the gold ones among siblings have of the softmax of their scores (1, c), times `weight`:
  // L_route for one, L_sel for several (appendix E). Returns its value.
  static double route_loss(Tape& tape, Var scores, std::vector<int> gold, float temperature, float weight);

 private:
  MemoryModel(const Decoder& decoder, std::unique_ptr<MemoryWeights> weights)
      : decoder_(decoder), weights_(std::move(weights)) {}
  Var read_together(Tape& tape, std::span<const Text> texts, Var inner) const;
  void build_level(Tape& tape, const TextTree& tree, std::span<const int> level,
                   const std::vector<std::vector<int>>& children, std::vector<Var>& memories) const;

  const Decoder& decoder_;
  std::unique_ptr<MemoryWeights> weights_;
};

}  // namespace longleaf::train
