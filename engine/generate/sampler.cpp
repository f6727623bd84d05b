#include "engine/generate/sampler.h"

#include <algorithm>
#include <cassert>
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
  explicit Ordered(std::vector<Sampler::Candidate> all) : all_(std::move(all)) {
    for (const Sampler::Candidate& c : all_) total_ += c.probability;
  }
  // Those that are known, in order; there may be more, and all have `total` together.
  Ordered(std::vector<Sampler::Candidate> first, double total, bool is_all)
      : all_(std::move(first)), sorted_(all_.size()), total_(total), is_all_(is_all) {}

  size_t size() const { return all_.size(); }
  bool is_all() const { return is_all_; }
  double total() const { return total_; }
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
  double total_ = 0;
  bool is_all_ = true;
};

// 1 for the best.
double weight(double logit, double best, const SamplerOptions& options) {
  return std::exp((logit - best) / double{options.temperature});
}

// Those that can be picked at all, with their weights.
Ordered weighted(std::span<const float> logits, const SamplerOptions& options) {
  std::vector<Sampler::Candidate> all;
  all.reserve(logits.size());
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity())
      all.push_back({static_cast<TokenId>(i), double{logits[i]}});
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < all.size()) {
    std::nth_element(all.begin(), all.begin() + options.top_k, all.end(), better);
    all.resize(static_cast<size_t>(options.top_k));
  }
  if (all.empty()) return Ordered({{0, 1.0}});
  const Sampler::Candidate best = *std::min_element(all.begin(), all.end(), better);
  if (std::isinf(best.probability)) return Ordered({{best.id, 1.0}});
  for (auto& c : all) c.probability = weight(c.probability, best.probability, options);
  return Ordered(std::move(all));
}

Ordered weighted(const Shortlist& best, const SamplerOptions& options) {
  const bool is_cut = options.top_k > 0;
  const auto wanted = static_cast<size_t>(std::max(options.top_k, 0));
  assert(wanted <= best.ids.size());
  std::vector<Sampler::Candidate> first;
  for (size_t i = 0; i < best.ids.size() && best.ids[i] >= 0 && !(is_cut && i == wanted); ++i)
    first.push_back({best.ids[i], weight(double{best.logits[i]}, double{best.logits[0]}, options)});
  if (first.empty()) return Ordered({{0, 1.0}});
  if (std::isinf(best.logits[0])) return Ordered({{best.ids[0], 1.0}});
  const bool is_all = first.size() < best.ids.size() || is_cut;
  return is_all ? Ordered(std::move(first)) : Ordered(std::move(first), best.sum, false);
}

struct Kept {
  size_t n = 0;     // of the candidates
  double mass = 0;  // that they have together
};

// What the filters keep; nullopt where it ends behind the candidates that are known.
std::optional<Kept> kept(Ordered& all, const SamplerOptions& options) {
  if (options.top_p >= 1 && options.min_p <= 0) return Kept{all.size(), all.total()};
  Kept kept;
  while (kept.n < all.size() && (kept.n == 0 || (kept.mass < double{options.top_p} * all.total() &&
                                                 all[kept.n].probability >= double{options.min_p})))
    kept.mass += all[kept.n++].probability;
  if (kept.n == all.size() && !all.is_all()) return std::nullopt;
  return kept;
}

std::optional<TokenId> chosen(Ordered all, const SamplerOptions& options, double luck) {
  const auto some = kept(all, options);
  if (!some) return std::nullopt;
  double left = luck * some->mass;
  for (size_t i = 0; i < some->n; ++i)
    if ((left -= all[i].probability) < 0) return all[i].id;
  if (some->n == all.size() && !all.is_all()) return std::nullopt;
  return all[some->n - 1].id;
}

}  // namespace

std::vector<Sampler::Candidate> Sampler::candidates(std::span<const float> logits) const {
  Ordered all = weighted(logits, options_);
  const Kept some = *kept(all, options_);
  std::vector<Candidate> out;
  for (size_t i = 0; i < some.n; ++i) out.push_back({all[i].id, all[i].probability / some.mass});
  return out;
}

// The top 53 bits as a fraction: the same on every platform, which std's distributions do not promise.
double Sampler::luck() {
  if (!luck_) luck_ = static_cast<double>(random_() >> 11) * 0x1p-53;
  return *luck_;
}

TokenId Sampler::pick(std::span<const float> logits) {
  if (options_.temperature <= 0) return most_likely(logits);
  const TokenId id = *chosen(weighted(logits, options_), options_, luck());
  luck_.reset();
  return id;
}

std::optional<TokenId> Sampler::pick(const Shortlist& best) {
  assert(options_.temperature > 0);
  const auto id = chosen(weighted(best, options_), options_, luck());
  if (id) luck_.reset();
  return id;
}

}  // namespace longleaf
