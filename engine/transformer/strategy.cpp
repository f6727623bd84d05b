#include "engine/transformer/strategy.h"

#include <algorithm>
#include <numeric>

namespace longleaf {

using kernels::Span;

void DenseStrategy::positions(const KvStore& store, std::span<int32_t> out) const {
  std::iota(out.begin(), out.end(), store.size() == 0 ? 0 : store.positions().back() + 1);
}

AttentionPlan DenseStrategy::attend(int, Phase, QueryBlock queries, const KvStore&) const {
  return {{{Span{0, queries.first_key + queries.n_tokens, 0, 1}}}};
}

SeparateTexts::SeparateTexts(std::span<const int> lengths, const Additions* additions)
    : begins_{0}, additions_(additions) {
  for (const int length : lengths) begins_.push_back(begins_.back() + length);
}

size_t SeparateTexts::text_of(int key) const {
  return static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), key) - begins_.begin()) - 1;
}

void SeparateTexts::positions(const KvStore& store, std::span<int32_t> out) const {
  for (size_t i = 0; i < out.size(); ++i) {
    const int key = store.size() + static_cast<int>(i);
    out[i] = key - begins_[text_of(key)];
  }
}

std::vector<QueryBlock> SeparateTexts::blocks(QueryBlock batch) const {
  std::vector<QueryBlock> blocks;
  const int end = batch.first_key + batch.n_tokens;
  for (int first = batch.first_key; first < end; first += blocks.back().n_tokens)
    blocks.push_back({first, std::min(end, begins_[text_of(first) + 1]) - first});
  return blocks;
}

AttentionPlan SeparateTexts::attend(int, Phase, QueryBlock queries, const KvStore&) const {
  const int begin = begins_[text_of(queries.first_key)];
  return {{{Span{begin, queries.first_key + queries.n_tokens - begin, 0, 1}}}};
}

SpanStrategy::SpanStrategy(std::vector<Span> evidence, int evidence_end, int next_position, const Additions* additions)
    : evidence_(std::move(evidence)),
      evidence_end_(evidence_end),
      next_position_(next_position),
      additions_(additions) {}

void SpanStrategy::positions(const KvStore& store, std::span<int32_t> out) const {
  std::iota(out.begin(), out.end(), next_position_ + store.size() - evidence_end_);
}

AttentionPlan SpanStrategy::attend(int, Phase, QueryBlock queries, const KvStore&) const {
  AttentionPlan plan{{evidence_}};
  plan.groups[0].push_back({evidence_end_, queries.first_key + queries.n_tokens - evidence_end_, 0, 1});
  return plan;
}

namespace {

// Keys from `begin` on whose positions follow each other.
int run_length(std::span<const int32_t> positions, int begin, int most) {
  int n = 1;
  const auto at = static_cast<size_t>(begin);
  while (n < most && positions[at + static_cast<size_t>(n)] == positions[at] + n) ++n;
  return n;
}

}  // namespace

std::vector<Span> merge_spans(std::vector<Span> spans, int first_query_key, std::span<const int32_t> positions) {
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) { return a.key_begin < b.key_begin; });
  std::vector<Span> merged;
  const auto add = [&](const Span& span) {
    Span* last = merged.empty() ? nullptr : &merged.back();
    assert(last == nullptr || last->key_begin + last->length <= span.key_begin);
    if (last != nullptr && last->key_begin + last->length == span.key_begin && last->rope_shift == span.rope_shift &&
        last->causal == span.causal && (positions.empty() || last->position + last->length == span.position))
      last->length += span.length;
    else
      merged.push_back(span);
  };
  for (Span span : spans) {
    if (span.key_begin + span.length <= first_query_key) span.causal = 1;
    for (int rest = span.length; rest > 0; rest -= span.length) {
      span.length = positions.empty() ? rest : run_length(positions, span.key_begin, rest);
      span.position = positions.empty() ? 0 : positions[static_cast<size_t>(span.key_begin)] + span.rope_shift;
      add(span);
      span.key_begin += span.length;
    }
  }
  return merged;
}

}  // namespace longleaf
