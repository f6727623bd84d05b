#include "engine/generate/draft.h"

#include <algorithm>
#include <cmath>

namespace longleaf {
namespace {

// The most likely token, and its probability.
std::pair<TokenId, double> most_likely(std::span<const float> logits) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float x : logits) sum += std::exp(double{x} - double{*best});
  return {static_cast<TokenId>(best - logits.begin()), 1.0 / sum};
}

}  // namespace

Result<std::unique_ptr<Draft>> Draft::create(std::shared_ptr<const Model> model, kernels::DType kv) {
  LL_ASSIGN_OR_RETURN(auto transformer, Transformer::create(std::move(model)));
  return std::unique_ptr<Draft>(new Draft(std::move(transformer), kv));
}

Status Draft::append(std::span<const TokenId> tokens, std::stop_token stop) {
  LL_RETURN_IF_ERROR(
      transformer_->forward(tokens, store_, DenseStrategy(), Want::LastLogits, &logits_, std::move(stop)));
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  return {};
}

// Makes the store hold exactly `text`, with the logits behind it.
Status Draft::read(std::span<const TokenId> text, std::stop_token stop) {
  const auto same = static_cast<size_t>(std::mismatch(tokens_.begin(), tokens_.end(), text.begin(), text.end()).first -
                                        tokens_.begin());
  if (same == text.size() && same == tokens_.size() && !logits_.empty()) return {};
  const size_t kept = std::min(same, text.size() - 1);  // the last one is read again for its logits
  store_.truncate(static_cast<int>(kept));
  tokens_.resize(kept);
  return append(text.subspan(kept), std::move(stop));
}

Result<std::vector<TokenId>> Draft::write(std::span<const TokenId> text, int most, double least, std::stop_token stop) {
  const ModelConfig& config = transformer_->model().config();
  const bool readable = std::all_of(text.begin(), text.end(), [&](TokenId id) { return id < config.n_vocab; });
  std::vector<TokenId> written;
  if (!readable || static_cast<int64_t>(text.size()) + most > config.context_tokens) return written;
  LL_RETURN_IF_ERROR(read(text, stop));
  while (static_cast<int>(written.size()) < most) {
    const auto [token, probability] = most_likely(logits_);
    if (!(probability >= least)) break;
    written.push_back(token);
    if (static_cast<int>(written.size()) < most) LL_RETURN_IF_ERROR(append(std::span(&token, 1), stop));
  }
  return written;
}

Status check_same_vocabulary(const Tokenizer& large, const Tokenizer& small) {
  // Tokens without a meaning of their own only fill the table up.
  const auto pads = [](std::string_view text) { return text.empty() || text.starts_with("[PAD"); };
  for (TokenId id = 0; id < std::min(large.size(), small.size()); ++id)
    if (large.text(id) != small.text(id) && !(pads(large.text(id)) && pads(small.text(id))))
      return Status(Code::Unsupported, "The draft model has another vocabulary (token " + std::to_string(id) + " is “" +
                                           std::string(small.text(id)) + "”, not “" + std::string(large.text(id)) +
                                           "”); choose a smaller model of the same family");
  return {};
}

}  // namespace longleaf
