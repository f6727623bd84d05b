// A small model that writes what a larger one of the same vocabulary checks: Leviathan et al., arXiv 2211.17192; with
// a gate, BiLD: Kim et al., arXiv 2302.07863.
// Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/transformer.h"

namespace longleaf {

// When the small model's word counts although the large one would have chosen another: lossy. A token is kept when the
// large model gives it at least e^-roll_back; the small one hands over where it is less sure than hand_over.
struct Gate {
  double hand_over = 0.6;
  double roll_back = 2.0;
};

class Draft {
 public:
  // `model` is kept alive. Returns NoMemory.
  static Result<std::unique_ptr<Draft>> create(std::shared_ptr<const Model> model, kernels::DType kv);

  // Its most likely tokens behind `text`: at most `most`, and none from the first on whose probability is below
  // `least`. Empty where the text is longer than the model was trained for or has a token it does not know. What it
  // read of an earlier text with the same beginning is not read again. REQUIRES: text is not empty. Returns NoMemory,
  // Cancelled.
  Result<std::vector<TokenId>> write(std::span<const TokenId> text, int most, double least, std::stop_token stop);

  const ModelFile& file() const { return transformer_->model().file(); }

 private:
  Draft(std::unique_ptr<Transformer> transformer, kernels::DType kv)
      : transformer_(std::move(transformer)),
        store_(transformer_->model().config(), transformer_->model().placement(), kv) {}
  Status read(std::span<const TokenId> text, std::stop_token stop);
  Status append(std::span<const TokenId> tokens, std::stop_token stop);

  std::unique_ptr<Transformer> transformer_;
  KvStore store_;
  std::vector<TokenId> tokens_;  // in the store
  std::vector<float> logits_;    // behind the last of them
};

// OK when what one model writes can be read by the other: every token that both have is the same.
// Returns Unsupported with a token that differs.
Status check_same_vocabulary(const Tokenizer& large, const Tokenizer& small);

}  // namespace longleaf
