// The learned memory of H²MT (arXiv 2605.24930) on a tape: a vector per node of a document's tree, written and read by
// the language model itself, and what a question is routed by. Sections below are the paper's.
// Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/adapter/adapter_file.h"
#include "engine/train/decoder.h"

namespace longleaf::train {

// A document as memory is made of it.
struct TextTree {
  std::vector<int> parents;                  // of every node, -1 for the root; parents before children, reading order
  std::vector<std::vector<TokenId>> tokens;  // of a node's own text; may be empty
  size_t size() const { return parents.size(); }
};

class MemoryModel {
 public:
  // `parameters` gets what is trained. All outlive the object. Returns NoMemory.
  static Result<std::unique_ptr<MemoryModel>> create(const Decoder& decoder, Parameters& parameters,
                                                     const MemorySettings& settings);
  const MemorySettings& settings() const { return settings_; }

  // A vector per text (section 3.2.1): (n, d_model), the state of e_read in [e_write; inner; text; e_read]. Where the
  // tape does not record, texts are read some at a time, so that memory does not grow with their number.
  struct Text {
    std::span<const TokenId> tokens;
    int inner = -1;  // a row of `inner` in front of the text; -1: none
  };
  Var read(Tape& tape, std::span<const Text> texts, Var inner = {}) const;

  // Memories of all nodes, children first, all nodes of a depth at once (section 3.2.2): (n_nodes, d_model).
  Var build(Tape& tape, const TextTree& tree) const;

  // One vector of those of children (c, d_model). parent: what the parent's text says, (1, d_model).
  Var aggregate(Tape& tape, Var children, Var parent) const;

  // Vectors of questions (section 3.3): (n, d_model).
  Var queries(Tape& tape, std::span<const std::span<const TokenId>> questions) const;
  // How well each memory answers each: (n_questions, n_memories).
  Var scores(Tape& tape, Var queries, Var memories) const;

  // Memories as they stand among embeddings.
  Var entered(Tape& tape, Var memories) const;

  // -log of the share that the gold ones among siblings have of the softmax of their scores (1, c), times `weight`:
  // L_route for one, L_sel for several (appendix E). Returns its value.
  static double route_loss(Tape& tape, Var scores, std::vector<int> gold, float temperature, float weight);

 private:
  MemoryModel(const Decoder& decoder, Parameters& parameters, const MemorySettings& settings)
      : decoder_(decoder), parameters_(parameters), settings_(settings) {}
  Status make_parameters();
  Var read_together(Tape& tape, std::span<const Text> texts, Var inner) const;
  Var on(Tape& tape, const Parameter* parameter) const { return parameters_.on(tape, *parameter); }
  Var graph(Tape& tape, Var children, Var parent) const;
  Var parent_token(Tape& tape, Var children) const;
  Var attention(Tape& tape, Var queries, Var keys) const;  // softmax of projected products: (n_queries, n_keys)
  void build_level(Tape& tape, const TextTree& tree, std::span<const int> level,
                   const std::vector<std::vector<int>>& children, std::vector<Var>& memories) const;

  const Decoder& decoder_;
  Parameters& parameters_;
  MemorySettings settings_;
  float embedding_size_ = 0;  // root of the mean square of an embedding's numbers
  Parameter *e_write_ = nullptr, *e_read_ = nullptr, *w_q_ = nullptr, *w_k_ = nullptr;
  // Of aggregation; nullptr where it has none.
  Parameter *parent_q_ = nullptr, *child_k_ = nullptr, *child_v_ = nullptr;
  Parameter *slope_parent_ = nullptr, *slope_child_ = nullptr, *parent_token_ = nullptr;
};

}  // namespace longleaf::train
