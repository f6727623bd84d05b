// Which experts of a mixture a token goes to.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace longleaf {

// The numbers of the n_used experts with the highest scores, best first, per token: (n_tokens, n_used). Of equals, the
// first. scores: (n_tokens, n_experts).
std::vector<int32_t> best_experts(std::span<const float> scores, int n_tokens, int n_experts, int n_used);

}  // namespace longleaf
