// Decoding several tokens at once without changing any: answers quote their evidence, so what followed the last few
// tokens when they last stood in the text is guessed to follow again, or a draft model guesses; one forward pass
// computes the guesses together, and a guess counts only when the sampler picks that very token from the logits in
// front of it. Since a batch gives the same bits as single tokens, the answer is the one that would have come without,
// greedy or sampled. Saxena, Prompt Lookup Decoding (2023); Leviathan et al., arXiv 2211.17192, with a guess of
// probability one. With a gate, tokens of the draft model count that the large one merely finds likely enough: the
// answer is then another. Not thread-safe: one thread owns it.
#pragma once

#include <optional>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/generate/draft.h"
#include "engine/generate/sampler.h"

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

  // From now on guess by `draft` as well, or, with a gate, by it alone. It must outlive this.
  //   worth_checking  probability from which on a word of the draft model is guessed: a guess costs a share of a pass
  void use_draft(Draft& draft, std::optional<Gate> gate, double worth_checking = 0.4) {
    draft_ = &draft;
    worth_checking_ = worth_checking;
    gate_ = gate;
  }

  // From now on nobody asks for anything but the choice of this sampler: where the device can say what is best without
  // sending all logits, `next` returns none. REQUIRES: no gate.
  void leave_logits(const SamplerOptions& options);

  // The token that follows, of the logits that `next` returned last: the sampler's choice, or with a gate the draft
  // model's, if it is likely enough.
  Result<TokenId> choose(Sampler& sampler, std::span<const float> logits, std::stop_token stop);

  // The logits behind `token`, which is appended. They are valid until the next call. Errors as Transformer::forward.
  Result<std::span<const float>> next(TokenId token, std::stop_token stop);

  int guessed() const { return guessed_; }
  int accepted() const { return accepted_; }

 private:
  std::span<const float> row(size_t index) const;
  Status compute(std::span<const TokenId> tokens, std::stop_token stop);
  Result<TokenId> pick_best(Sampler& sampler);
  Status guess(std::stop_token stop);
  Result<std::vector<TokenId>> written(int most, double least, std::stop_token stop);

  Transformer& transformer_;
  KvStore& store_;
  const Strategy& strategy_;
  std::vector<TokenId> text_;
  std::vector<TokenId> guesses_;      // that stand in the store behind the last token that was computed
  std::vector<float> logits_;         // behind that token, then behind every guess
  std::vector<TokenId> most_likely_;  // … or what is most likely there
  BestLogits best_;                   // … or the best
  enum class Read { Logits, MostLikely, Best } read_ = Read::Logits;
  float temperature_ = 0;
  size_t taken_ = 0;  // guesses that came true
  int length_ = 2;    // of the next guess: grows while guesses come true
  int guessed_ = 0, accepted_ = 0;
  Draft* draft_ = nullptr;
  double worth_checking_ = 1;
  std::optional<Gate> gate_;
  std::vector<TokenId> drafted_;  // with a gate: what the draft model wrote behind the text
};

}  // namespace longleaf
