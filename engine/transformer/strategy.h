// A strategy decides which keys a query may see, at which positions tokens stand, and how many layers run. The
// transformer knows none of the methods: it asks. DESIGN: "attention over spans".
// Const methods: any thread; a strategy must not change while a forward pass uses it.
#pragma once

#include <span>
#include <vector>

#include "engine/transformer/kv_store.h"
#include "kernels/span_attention.h"

namespace longleaf {

enum class Phase { Prefill, Decode };

// Query rows that are computed together; the row i has its own key at index first_key + i.
struct QueryBlock {
  int first_key = 0;
  int n_tokens = 0;
};

// Disjoint spans per head group. One group: all heads see the same. The number of groups divides n_kv_heads.
struct AttentionPlan {
  std::vector<std::vector<kernels::Span>> groups;
};

class Additions;

class Strategy {
 public:
  virtual ~Strategy() = default;

  // Positions of the tokens that will be appended behind `store`.
  virtual void positions(const KvStore& store, std::span<int32_t> out) const = 0;

  virtual AttentionPlan attend(int layer, Phase phase, QueryBlock queries, const KvStore& store) const = 0;

  // Tokens of a batch whose plans differ, in order: attend() is asked for each block by itself.
  virtual std::vector<QueryBlock> blocks(QueryBlock batch) const { return {batch}; }

  // Layers to run, from the first; the rest is skipped (a routing vector needs only the lower half).
  virtual int depth(int n_layers) const { return n_layers; }

  // What is added to the model's matrices; nullptr: nothing. Outlives the pass.
  virtual const Additions* additions() const { return nullptr; }
};

// Every token sees everything before it; positions go on from the last key's.
class DenseStrategy : public Strategy {
 public:
  explicit DenseStrategy(const Additions* additions = nullptr) : additions_(additions) {}
  void positions(const KvStore& store, std::span<int32_t> out) const override;
  AttentionPlan attend(int layer, Phase phase, QueryBlock queries, const KvStore& store) const override;
  const Additions* additions() const override { return additions_; }

 private:
  const Additions* additions_;
};

// Texts that have nothing to do with each other, read one behind the other in shared batches: each begins at position 0
// and sees itself alone.
class SeparateTexts : public Strategy {
 public:
  //   lengths    of the texts, in tokens, in the order they are appended to an empty store
  //   additions  see above
  SeparateTexts(std::span<const int> lengths, const Additions* additions);
  void positions(const KvStore& store, std::span<int32_t> out) const override;
  std::vector<QueryBlock> blocks(QueryBlock batch) const override;
  AttentionPlan attend(int layer, Phase phase, QueryBlock queries, const KvStore& store) const override;
  const Additions* additions() const override { return additions_; }

 private:
  size_t text_of(int key) const;
  std::vector<int> begins_;  // first key of every text, and the key behind the last
  const Additions* additions_;
};

// Every token sees the evidence spans and everything behind them. Tokens behind stand from `next_position` on.
//   evidence          disjoint spans below key index `evidence_end`, causal or not
//   evidence_end      index of the first key that is not evidence
//   additions         see above
class SpanStrategy : public Strategy {
 public:
  SpanStrategy(std::vector<kernels::Span> evidence, int evidence_end, int next_position,
               const Additions* additions = nullptr);
  void positions(const KvStore& store, std::span<int32_t> out) const override;
  AttentionPlan attend(int layer, Phase phase, QueryBlock queries, const KvStore& store) const override;
  const Additions* additions() const override { return additions_; }

 private:
  std::vector<kernels::Span> evidence_;
  int evidence_end_, next_position_;
  const Additions* additions_;
};

// Joins neighbours that can be read as one (same shift), so that how a plan was cut never changes a result.
// A span that lies wholly before the first query is causal by nature and is marked so.
//   positions  of all keys of the store, where a window needs them: every span is then told where its keys stand, and
//              cut where their positions do not follow each other; may be empty
std::vector<kernels::Span> merge_spans(std::vector<kernels::Span> spans, int first_query_key,
                                       std::span<const int32_t> positions);

}  // namespace longleaf
