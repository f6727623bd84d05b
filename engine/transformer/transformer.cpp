#include "engine/transformer/transformer.h"

#include <algorithm>
#include <cmath>

namespace longleaf {

Result<std::unique_ptr<Transformer>> Transformer::create(std::shared_ptr<const Model> model) {
  std::unique_ptr<Transformer> transformer(new Transformer(std::move(model)));
  LL_RETURN_IF_ERROR(transformer->allocate());
  return transformer;
}

Status Transformer::allocate() {
  const Placement& placement = model_->placement();
  for (const DeviceShare& share : placement) batch_tokens_ = std::max(batch_tokens_, share.backend->batch_tokens);
  for (size_t i = 0; i < placement.size(); ++i) {
    LL_ASSIGN_OR_RETURN(auto stage, Stage::create(*model_, i, batch_tokens_));
    stages_.push_back(std::move(stage));
  }
  return {};
}

Status Transformer::forward(Input input, KvStore& store, const Strategy& strategy, Want want,
                            std::vector<float>* logits, std::stop_token stop, const LayerTap& tap) {
  if (logits != nullptr) logits->clear();
  return append(input, store, strategy, stop, tap, [&](int n_tokens, bool is_last) -> Status {
    if (want == Want::Nothing || (want == Want::LastLogits && !is_last)) return {};
    return stages_.back()->read_logits(n_tokens, want, *logits);
  });
}

bool Transformer::has_best() const {
  const ModelConfig& c = model_->config();
  int exponent = 0;
  return c.logit_soft_cap == 0 && std::frexp(c.logit_scale, &exponent) == 0.5f;
}

Status Transformer::forward_best(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy,
                                 std::vector<TokenId>& best, std::stop_token stop) {
  assert(has_best());
  best.clear();
  return append(Input{tokens}, store, strategy, stop, nullptr,
                [&](int n_tokens, bool) { return stages_.back()->read_best(n_tokens, best); });
}

Status Transformer::forward_top(std::span<const TokenId> tokens, KvStore& store, const Strategy& strategy,
                                float temperature, BestLogits& best, std::stop_token stop) {
  assert(has_best());
  best = {.k = best.k, .logits = {}, .ids = {}, .sums = {}};
  return append(Input{tokens}, store, strategy, stop, nullptr,
                [&](int n_tokens, bool) { return stages_.back()->read_top(n_tokens, temperature, best); });
}

Status Transformer::append(Input input, KvStore& store, const Strategy& strategy, const std::stop_token& stop,
                           const LayerTap& tap, const std::function<Status(int n_tokens, bool is_last)>& behind) {
  if (input.tokens.empty())
    return Status(Code::Invalid, "The vocabulary of " + model_->config().title +
                                     " has no word of this text; open another model to read it");
  const int before = store.size();
  while (!input.tokens.empty()) {
    const Input part = split(input, static_cast<size_t>(batch_tokens_));
    Status status = append_batch(part, store, strategy, stop, tap);
    if (status.ok()) status = behind(static_cast<int>(part.tokens.size()), input.tokens.empty());
    if (!status.ok()) {
      store.truncate(before);
      return status;
    }
  }
  return {};
}

// Takes the first `most` tokens off, with their vectors.
Input Transformer::split(Input& input, size_t most) const {
  Input part{input.tokens.first(std::min(input.tokens.size(), most))};
  const auto vectors = std::count(part.tokens.begin(), part.tokens.end(), kVector);
  part.vectors = input.vectors.first(static_cast<size_t>(vectors * model_->config().d_model));
  input = {input.tokens.subspan(part.tokens.size()), input.vectors.subspan(part.vectors.size())};
  return part;
}

Status Transformer::append_batch(const Input& input, KvStore& store, const Strategy& strategy,
                                 const std::stop_token& stop, const LayerTap& tap) {
  const int first_key = store.size();
  std::vector<int32_t> positions(input.tokens.size());
  strategy.positions(store, positions);
  LL_RETURN_IF_ERROR(store.append(positions));
  return run_layers(input, {positions, first_key, store, strategy, stop, tap});
}

Status Transformer::recompute(std::span<const TokenId> tokens, int first_key, KvStore& store, const Strategy& strategy,
                              std::stop_token stop) {
  assert(first_key >= 0 && first_key + static_cast<int>(tokens.size()) <= store.size());
  const auto positions = std::span(store.positions()).subspan(static_cast<size_t>(first_key), tokens.size());
  const auto batch = static_cast<size_t>(batch_tokens_);
  for (size_t begin = 0; begin < tokens.size(); begin += batch) {
    const size_t n = std::min(batch, tokens.size() - begin);
    LL_RETURN_IF_ERROR(
        run_layers({tokens.subspan(begin, n)},
                   {positions.subspan(begin, n), first_key + static_cast<int>(begin), store, strategy, stop, nullptr}));
  }
  return {};
}

// Through the stages, from the embeddings on. Hidden rows go from one device to the next by way of host memory.
Status Transformer::run_layers(const Input& input, const Pass& pass) {
  const int depth = pass.strategy.depth(model_->config().n_layers);
  LL_RETURN_IF_ERROR(stages_.front()->embed(input));
  for (size_t i = 0; i < stages_.size() && (i == 0 || stages_[i]->first_layer() < depth); ++i) {
    if (i > 0) {
      crossing_.resize(input.tokens.size() * static_cast<size_t>(model_->config().d_model));
      LL_RETURN_IF_ERROR(stages_[i - 1]->send(crossing_));
      LL_RETURN_IF_ERROR(stages_[i]->receive(crossing_));
    }
    LL_RETURN_IF_ERROR(stages_[i]->run(pass, depth));
  }
  return {};
}

}  // namespace longleaf
