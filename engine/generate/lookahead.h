// Decoding several tokens at once without changing any: answers quote their evidence, so what followed the last few
// tokens when they last stood in the text is guessed to follow again; one forward pass computes the guesses together,
// and a guess counts only when the sampler picks that very token from the logits in front of it. Since a batch gives
// the same bits as single tokens, the answer is the one that would have come without, greedy or sampled.
// Saxena, Prompt Lookup Decoding (2023); Leviathan et al., arXiv 2211.17192, with a guess of probability one.
// Not thread-safe: one thread owns it.
#pragma once

#include <span>
#include <stop_token>
#include <vector>

#include "engine/transformer/transformer.h"

namespace longleaf {

// What followed the longest run of at most kLongest last tokens of `text` where that run last stood before: at most
// `most` tokens; empty when not even kShortest tokens repeat.
std::vector<TokenId> look_up(std::span<const TokenId> text, int most);

class Lookahead {
 public:
  // `store` holds what the answer builds on; while this lives, only it may append. `known`: tokens of the evidence and
  // the question, in the order they are read. All must outlive it.
  Lookahead(Transformer& transformer, KvStore& store, const Strategy& strategy, std::vector<TokenId> known)
      : transformer_(transformer), store_(store), strategy_(strategy), text_(std::move(known)) {}

  // The logits behind `token`, which is appended. They are valid until the next call. Errors as Transformer::forward.
  Result<std::span<const float>> next(TokenId token, std::stop_token stop);

  int guessed() const { return guessed_; }
  int accepted() const { return accepted_; }

 private:
  std::span<const float> row(size_t index) const;

  Transformer& transformer_;
  KvStore& store_;
  const Strategy& strategy_;
  std::vector<TokenId> text_;
  std::vector<TokenId> guesses_;  // that stand in the store behind the last token that was computed
  std::vector<float> logits_;     // behind that token, then behind every guess
  size_t taken_ = 0;              // guesses that came true
  int length_ = 2;                // of the next guess: grows while guesses come true
  int guessed_ = 0, accepted_ = 0;
};

}  // namespace longleaf
