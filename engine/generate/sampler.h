// Picks the next token from logits. Not thread-safe: one per answer.
#pragma once

#include <cstdint>
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

class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  // Filters apply in the order top-k, top-p, min-p, on probabilities at the given temperature. Ties go to the lower
  // id. Logits that are NaN or minus infinity are never picked. REQUIRES: logits is not empty.
  TokenId pick(std::span<const float> logits);

  // Tokens that survive the filters with their probabilities (summing to 1), most likely first.
  struct Candidate {
    TokenId id;
    double probability;
  };
  std::vector<Candidate> candidates(std::span<const float> logits) const;

 private:
  SamplerOptions options_;
  std::mt19937_64 random_;
};

}  // namespace longleaf
