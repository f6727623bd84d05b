#include "engine/generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace longleaf {
namespace {

TokenId most_likely(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 1; i < logits.size(); ++i)
    if (logits[i] > logits[best] || std::isnan(logits[best])) best = i;
  return static_cast<TokenId>(best);
}

}  // namespace

std::vector<Sampler::Candidate> Sampler::candidates(std::span<const float> logits) const {
  std::vector<Candidate> all;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity())
      all.push_back({static_cast<TokenId>(i), double{logits[i]}});
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
  };
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < all.size()) {
    std::partial_sort(all.begin(), all.begin() + options_.top_k, all.end(), better);
    all.resize(static_cast<size_t>(options_.top_k));
  } else {
    std::sort(all.begin(), all.end(), better);
  }
  if (all.empty()) return {{0, 1.0}};
  const double top = all[0].probability;
  double total = 0;
  for (auto& c : all) total += c.probability = std::exp((c.probability - top) / double{options_.temperature});
  size_t keep = 0;
  double mass = 0;
  while (keep < all.size() && (keep == 0 || (mass < double{options_.top_p} * total &&
                                             all[keep].probability >= double{options_.min_p} * all[0].probability)))
    mass += all[keep++].probability;
  all.resize(keep);
  for (auto& c : all) c.probability /= mass;
  return all;
}

TokenId Sampler::pick(std::span<const float> logits) {
  if (options_.temperature <= 0) return most_likely(logits);
  const auto kept = candidates(logits);
  // The top 53 bits as a fraction: the same on every platform, which std's distributions do not promise.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53;
  for (const auto& candidate : kept)
    if ((left -= candidate.probability) < 0) return candidate.id;
  return kept.back().id;
}

}  // namespace longleaf
