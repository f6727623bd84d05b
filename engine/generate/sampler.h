// Picks the next token from logits. Not thread-safe: one per answer.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

struct SamplerOptions {
  float temperature = 0.0f;  // 0: the most likely token, always
  int top_k = 0;             // keep the k most likely; 0: all
  float top_p = 1.0f;        // keep the smallest set that has this share of the mass
  float min_p = 0.0f;        // keep tokens at least this share as likely as the best
  uint64_t seed = 0;
};

// The best of a row of logits, best first, found where they were computed: kernels::TopArgs.
struct Shortlist {
  std::span<const float> logits;
  std::span<const TokenId> ids;  // -1 behind the last token that can be picked at all
  double sum = 0;                // of the weights of all tokens, at the sampler's temperature: 1 for the best
};

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  // Filters apply in the order top-k, top-p, min-p, on probabilities at the given temperature. Ties go to the lower
  // id. Logits that are NaN or minus infinity are never picked. REQUIRES: logits is not empty.
  TokenId pick(std::span<const float> logits);
  // The same from the best alone, but for how the sum was rounded; nullopt where they are too few to tell: the next
  // call, of the same row, then picks with the same luck. REQUIRES: a temperature; as many as top-k wants.
  std::optional<TokenId> pick(const Shortlist& best);

  // Tokens that survive the filters with their probabilities (summing to 1), most likely first.
  struct Candidate {
    TokenId id;
    double probability;
  };
  std::vector<Candidate> candidates(std::span<const float> logits) const;

 private:
  double luck();

  SamplerOptions options_;
  std::optional<double> luck_;  // that was not used yet
  std::mt19937_64 random_;
};

}  // namespace longleaf
