#include "engine/generate/lookahead.h"

#include <algorithm>
#include <cmath>

namespace longleaf {
namespace {

constexpr size_t kLongest = 4, kShortest = 2;  // tokens that must repeat
static_assert(kernels::kSameBits >= 8);        // what is checked at once has the bits that each token alone has
constexpr int kMostGuesses =
    kernels::kSameBits - 1;  // with the token itself two tiles of four: see kernels/fast_matmul.cpp

constexpr int kShortlist = 256;  // tokens, among which most picks are
static_assert(kMostGuesses < kLogitRows && kShortlist <= kernels::kMostTop);

// -ln of the probability.
double surprise(std::span<const float> logits, TokenId token) {
  const float top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits) sum += std::exp(double{x} - double{top});
  return std::log(sum) - (double{logits[static_cast<size_t>(token)]} - double{top});
}

}  // namespace

std::vector<TokenId> look_up(std::span<const TokenId> text, int most) {
  for (size_t n = kLongest; n >= kShortest; --n) {
    if (text.size() <= n) continue;
    const auto last = text.last(n);
    const auto before = text.first(text.size() - 1);
    const auto found = std::find_end(before.begin(), before.end(), last.begin(), last.end());
    if (found == before.end()) continue;
    const auto begin = static_cast<size_t>(found - before.begin()) + n;
    const auto following = text.subspan(begin, std::min(static_cast<size_t>(most), text.size() - begin));
    return {following.begin(), following.end()};
  }
  return {};
}

void Lookahead::leave_logits(const SamplerOptions& options) {
  if (!transformer_.has_best() || options.top_k > kernels::kMostTop) return;
  read_ = options.temperature <= 0 ? Read::MostLikely : Read::Best;
  temperature_ = options.temperature;
  best_.k = options.top_k > 0 ? options.top_k : kShortlist;
}

std::span<const float> Lookahead::row(size_t index) const {
  if (read_ != Read::Logits) return {};
  const size_t width = logits_.size() / (guesses_.size() + 1);
  return std::span(logits_).subspan(index * width, width);
}

// The draft model's words; without enough memory for it there are none, and the answer goes on.
Result<std::vector<TokenId>> Lookahead::written(int most, double least, std::stop_token stop) {
  auto tokens = draft_->write(text_, most, least, std::move(stop));
  if (tokens.status().code() == Code::NoMemory) return std::vector<TokenId>{};
  return tokens;
}

Result<TokenId> Lookahead::choose(Sampler& sampler, std::span<const float> logits, std::stop_token stop) {
  if (logits.empty()) return read_ == Read::MostLikely ? most_likely_[taken_] : pick_best(sampler);
  if (draft_ == nullptr || !gate_) return sampler.pick(logits);
  const bool pending = taken_ < guesses_.size();
  drafted_.clear();
  if (!pending && !text_.empty()) {
    LL_ASSIGN_OR_RETURN(drafted_, written(kMostGuesses + 1, gate_->hand_over, std::move(stop)));
  }
  if (!pending && drafted_.empty()) return sampler.pick(logits);
  const TokenId candidate = pending ? guesses_[taken_] : drafted_[0];
  const bool known = static_cast<size_t>(candidate) < logits.size();
  return known && surprise(logits, candidate) <= gate_->roll_back ? candidate : sampler.pick(logits);
}

// … or of all logits, where the sampler's luck points beyond the best.
Result<TokenId> Lookahead::pick_best(Sampler& sampler) {
  const size_t n = static_cast<size_t>(best_.k), at = taken_ * n;
  const Shortlist best{std::span(best_.logits).subspan(at, n), std::span(best_.ids).subspan(at, n), best_.sums[taken_]};
  if (const auto id = sampler.pick(best)) return *id;
  LL_RETURN_IF_ERROR(transformer_.read_row(static_cast<int>(taken_), logits_));
  return sampler.pick(logits_);
}

// What may follow text_.
Status Lookahead::guess(std::stop_token stop) {
  guesses_.clear();
  if (gate_) {
    if (!drafted_.empty() && drafted_[0] == text_.back()) guesses_.assign(drafted_.begin() + 1, drafted_.end());
  } else {
    guesses_ = look_up(text_, length_);
    if (guesses_.empty() && draft_ != nullptr) {
      LL_ASSIGN_OR_RETURN(guesses_, written(length_, worth_checking_, std::move(stop)));
    }
  }
  const auto foreign = std::find_if(guesses_.begin(), guesses_.end(),
                                    [this](TokenId id) { return id >= transformer_.model().config().n_vocab; });
  guesses_.erase(foreign, guesses_.end());
  guessed_ += static_cast<int>(guesses_.size());
  return {};
}

Status Lookahead::compute(std::span<const TokenId> tokens, std::stop_token stop) {
  if (read_ == Read::MostLikely)
    return transformer_.forward_best(tokens, store_, strategy_, most_likely_, std::move(stop));
  if (read_ == Read::Best)
    return transformer_.forward_top(tokens, store_, strategy_, temperature_, best_, std::move(stop));
  return transformer_.forward(tokens, store_, strategy_, Want::AllLogits, &logits_, std::move(stop));
}

Result<std::span<const float>> Lookahead::next(TokenId token, std::stop_token stop) {
  text_.push_back(token);
  if (taken_ < guesses_.size() && guesses_[taken_] == token) {
    ++accepted_;
    return row(++taken_);
  }
  if (!guesses_.empty()) {
    length_ =
        taken_ == guesses_.size() ? std::min(2 * length_, kMostGuesses) : std::max<int>(1, static_cast<int>(taken_));
    store_.truncate(store_.size() - static_cast<int>(guesses_.size() - taken_));
  }
  taken_ = 0;
  LL_RETURN_IF_ERROR(guess(stop));
  std::vector<TokenId> batch = {token};
  batch.insert(batch.end(), guesses_.begin(), guesses_.end());
  Status status = compute(batch, stop);
  if (status.code() == Code::NoMemory && !guesses_.empty()) {  // there may be enough for the token alone
    guesses_.clear();
    status = compute(std::span(&token, 1), std::move(stop));
  }
  if (!status.ok()) {
    guesses_.clear();
    return status;
  }
  return row(0);
}

}  // namespace longleaf
