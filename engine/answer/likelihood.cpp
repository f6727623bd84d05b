// How well a cached leaf explains a question (specification f: question likelihood from leaf KV).
#include <algorithm>
#include <cmath>

#include "engine/parts.h"

namespace longleaf {
namespace {

// Mean log-probability of tokens[1..] given what is in `store` and the tokens before each.
Result<double> mean_log_likelihood(Transformer& transformer, KvStore& store, const Strategy& strategy,
                                   const std::vector<TokenId>& tokens, std::stop_token stop) {
  std::vector<float> logits;
  LL_RETURN_IF_ERROR(transformer.forward(tokens, store, strategy, Want::AllLogits, &logits, std::move(stop)));
  const auto n_vocab = static_cast<size_t>(transformer.model().config().n_vocab);
  double sum = 0;
  for (size_t t = 0; t + 1 < tokens.size(); ++t) {
    const float* row = logits.data() + t * n_vocab;
    const double top = *std::max_element(row, row + n_vocab);
    double total = 0;
    for (size_t i = 0; i < n_vocab; ++i) total += std::exp(double{row[i]} - top);
    sum += double{row[static_cast<size_t>(tokens[t + 1])]} - top - std::log(total);
  }
  return sum / static_cast<double>(std::max<size_t>(1, tokens.size() - 1));
}

}  // namespace

Result<double> Engine::question_likelihood(const DocumentInput& document, const std::filesystem::path& folder,
                                           int64_t leaf, const std::string& question, std::stop_token stop) {
  return guarded([&] { return question_likelihood_now(document, folder, leaf, question, stop); });
}

Result<double> Engine::question_likelihood_now(const DocumentInput& document, const std::filesystem::path& folder,
                                               int64_t leaf, const std::string& question, std::stop_token stop) {
  const OpenDocument& open = open_document(document, folder);
  const auto& entries = open.plan.entries;
  const auto it =
      std::find_if(entries.begin() + 1, entries.end(), [&](const MemoryEntry& e) { return e.node == leaf; });
  const auto index = static_cast<size_t>(it - entries.begin());
  if (it == entries.end() || open.file == nullptr || !open.file->has(index) || !open.file->has(0))
    return Status(Code::NotFound, "The document has not been encoded for this model; encode it first");
  const auto tokens = parts_->tokenizer->encode("Question: " + question);
  KvStore& store = *parts_->store;
  EntryReader reader(*open.file, {});
  const auto prefix = static_cast<int>(entries[0].tokens.size()), n = static_cast<int>(it->tokens.size());
  double with = 0, without = 0;
  for (const bool has_leaf : {true, false}) {
    store.truncate(0);
    LL_RETURN_IF_ERROR(recall_entry(*open.file, reader, 0, store));
    std::vector<kernels::Span> spans = {{0, prefix, 0, 0}};
    if (has_leaf) {
      spans.push_back({store.size(), n, prefix - it->first_position, 0});
      LL_RETURN_IF_ERROR(recall_entry(*open.file, reader, index, store));
    }
    const SpanStrategy strategy(spans, store.size(), prefix + (has_leaf ? n : 0));
    LL_ASSIGN_OR_RETURN((has_leaf ? with : without),
                        mean_log_likelihood(*parts_->transformer, store, strategy, tokens, stop));
  }
  store.truncate(0);
  return with - without;
}

}  // namespace longleaf
