// The model as a learned memory uses it: what an adapter adds to it, and texts read between vectors of the adapter.
// Not thread-safe: one thread owns it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/train/memory_weights.h"
#include "engine/transformer/transformer.h"

namespace longleaf {

class MemoryReader {
 public:
  // `transformer` outlives the object. Returns Corrupt where the adapter does not fit its model, NoMemory.
  static Result<std::unique_ptr<MemoryReader>> load(const AdapterContents& adapter, Transformer& transformer);

  size_t d_model() const { return d_model_; }
  const Additions& additions() const { return *additions_; }
  const train::MemoryWeights& weights() const { return *weights_; }

  // Vectors of d_model numbers, as they stand among embeddings; their memory is the caller's.
  struct Text {
    const float* front = nullptr;
    const float* inner = nullptr;  // behind the front one; nullptr: nothing
    std::span<const TokenId> tokens;
    const float* behind = nullptr;
  };
  static constexpr size_t kVectors = 3;  // of a text, at most
  // A text as summaries and nodes are read: between e_write and e_read.
  Text text(std::span<const TokenId> tokens, const float* inner = nullptr) const {
    return {e_write_.data(), inner, tokens, e_read_.data()};
  }
  // States of the vectors behind the texts, which do not see each other: (n, d_model). `store` is scratch: emptied
  // before and after.
  Result<std::vector<float>> read(std::span<const Text> texts, KvStore& store, std::stop_token stop);

  // What `f` computes with the weights, on the host.
  Result<std::vector<float>> on_tape(const std::function<train::Var(train::Tape&)>& f);
  // Rows of d_model numbers on such a tape.
  train::Var rows(train::Tape& tape, const std::vector<float>& values) const {
    return tape.constant(static_cast<int>(values.size() / d_model_), static_cast<int>(d_model_), values);
  }

 private:
  explicit MemoryReader(Transformer& transformer);

  Transformer& transformer_;
  size_t d_model_;
  kernels::BackendPtr host_;  // for what is too small for a card
  train::Parameters parameters_;
  train::Tape tape_;
  std::unique_ptr<train::MemoryWeights> weights_;
  std::unique_ptr<Additions> additions_;
  std::vector<float> e_write_, e_read_;
};

}  // namespace longleaf
