#include "engine/generate/lookahead.h"

#include <algorithm>

namespace longleaf {
namespace {

constexpr size_t kLongest = 4, kShortest = 2;  // tokens that must repeat
constexpr int kMostGuesses = 7;                // with the token itself two tiles of four: see kernels/fast_matmul.cpp

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

std::span<const float> Lookahead::row(size_t index) const {
  const size_t width = logits_.size() / (guesses_.size() + 1);
  return std::span(logits_).subspan(index * width, width);
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
  guesses_ = look_up(text_, length_);
  guessed_ += static_cast<int>(guesses_.size());
  taken_ = 0;
  std::vector<TokenId> batch = {token};
  batch.insert(batch.end(), guesses_.begin(), guesses_.end());
  Status status = transformer_.forward(batch, store_, strategy_, Want::AllLogits, &logits_, stop);
  if (status.code() == Code::NoMemory && !guesses_.empty()) {  // there may be enough for the token alone
    guesses_.clear();
    status = transformer_.forward(std::span(&token, 1), store_, strategy_, Want::AllLogits, &logits_, std::move(stop));
  }
  if (!status.ok()) {
    guesses_.clear();
    return status;
  }
  return row(0);
}

}  // namespace longleaf
