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

bool better(const Sampler::Candidate& a, const Sampler::Candidate& b) {
  return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
}

// Candidates, most likely first: in order as far as they were looked at, for of a large vocabulary few ever are.
class Ordered {
 public:
  explicit Ordered(std::vector<Sampler::Candidate> all) : all_(std::move(all)) {}
  size_t size() const { return all_.size(); }
  const std::vector<Sampler::Candidate>& in_any_order() const { return all_; }
  const Sampler::Candidate& operator[](size_t i) {
    while (i >= sorted_) sort_more();
    return all_[i];
  }

 private:
  void sort_more() {
    const size_t n = std::min(all_.size(), std::max<size_t>(64, 4 * sorted_));
    const auto begin = all_.begin() + static_cast<long>(sorted_), end = all_.begin() + static_cast<long>(n);
    if (n < all_.size()) std::nth_element(begin, end, all_.end(), better);
    std::sort(begin, end, better);
    sorted_ = n;
  }
  std::vector<Sampler::Candidate> all_;
  size_t sorted_ = 0;
};

// Those that can be picked at all, with their weights: 1 for the best.
std::vector<Sampler::Candidate> weighted(std::span<const float> logits, const SamplerOptions& options) {
  std::vector<Sampler::Candidate> all;
  all.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity())
      all.push_back({static_cast<TokenId>(i), double{logits[i]}});
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < all.size()) {
    std::nth_element(all.begin(), all.begin() + options.top_k, all.end(), better);
    all.resize(static_cast<size_t>(options.top_k));
  }
  if (all.empty()) return {{0, 1.0}};
  const Sampler::Candidate best = *std::min_element(all.begin(), all.end(), better);
  const double top = best.probability;
  if (std::isinf(top)) return {{best.id, 1.0}};
  for (auto& c : all) c.probability = std::exp((c.probability - top) / double{options.temperature});
  return all;
}

struct Kept {
  Ordered candidates;
  size_t n = 0;     // of them
  double mass = 0;  // that they have together
};

Kept kept(std::span<const float> logits, const SamplerOptions& options) {
  Kept kept{Ordered(weighted(logits, options))};
  double total = 0;
  for (const Sampler::Candidate& c : kept.candidates.in_any_order()) total += c.probability;
  if (options.top_p >= 1 && options.min_p <= 0) return kept.n = kept.candidates.size(), kept.mass = total, kept;
  while (kept.n < kept.candidates.size() &&
         (kept.n == 0 ||
          (kept.mass < double{options.top_p} * total && kept.candidates[kept.n].probability >= double{options.min_p})))
    kept.mass += kept.candidates[kept.n++].probability;
  return kept;
}

}  // namespace

std::vector<Sampler::Candidate> Sampler::candidates(std::span<const float> logits) const {
  Kept all = kept(logits, options_);
  std::vector<Candidate> out;
  for (size_t i = 0; i < all.n; ++i) out.push_back({all.candidates[i].id, all.candidates[i].probability / all.mass});
  return out;
}

TokenId Sampler::pick(std::span<const float> logits) {
  if (options_.temperature <= 0) return most_likely(logits);
  Kept all = kept(logits, options_);
  // The top 53 bits as a fraction: the same on every platform, which std's distributions do not promise.
  double left = static_cast<double>(random_() >> 11) * 0x1p-53 * all.mass;
  for (size_t i = 0; i < all.n; ++i)
    if ((left -= all.candidates[i].probability) < 0) return all.candidates[i].id;
  return all.candidates[all.n - 1].id;
}

}  // namespace longleaf
