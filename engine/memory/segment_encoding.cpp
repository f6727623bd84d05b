#include <algorithm>

#include "engine/memory/memory_encoding.h"

namespace longleaf {

using train::Tape;
using train::Var;

namespace {

class SegmentEncoding {
 public:
  SegmentEncoding(const Segments& text, MemoryReader& reader, KvStore& store, MemoryRecords& records,
                  std::stop_token stop)
      : text_(text), reader_(reader), store_(store), records_(records), stop_(std::move(stop)) {}

  Status run() {
    for (size_t i = 0; i < text_.size(); ++i) {
      if (records_.has(i)) continue;
      if (stop_.stop_requested()) return Status(Code::Cancelled, "Stopped");
      if (i > 0 && i >= first_summary_ + summaries_.size() / reader_.d_model()) LL_RETURN_IF_ERROR(summarize_from(i));
      LL_ASSIGN_OR_RETURN(const auto start, start_of(i));
      const auto text = text_.with_front(i, settings().sensory_tokens);
      const MemoryReader::Text segment{start.data(), nullptr, text, start.data()};
      LL_ASSIGN_OR_RETURN(const auto memory, reader_.read({&segment, 1}, store_, stop_));
      LL_RETURN_IF_ERROR(records_.keep({&i, 1}, memory));
    }
    return {};
  }

 private:
  const MemorySettings& settings() const { return reader_.weights().settings(); }

  // Summaries depend on the text alone: those of some segments together.
  Status summarize_from(size_t first) {
    std::vector<MemoryReader::Text> texts;
    size_t n_tokens = 0;
    for (size_t i = first; i < text_.size() && (texts.empty() || n_tokens < kReadTokens); ++i) {
      texts.push_back(reader_.text(text_.summarized(i)));
      n_tokens += texts.back().tokens.size() + MemoryReader::kVectors;
    }
    LL_ASSIGN_OR_RETURN(summaries_, reader_.read(texts, store_, stop_));
    first_summary_ = first;
    return {};
  }

  // What stands at both ends of a segment, as it stands among embeddings.
  Result<std::vector<float>> start_of(size_t i) {
    if (i == 0)
      return reader_.on_tape(
          [&](Tape& tape) { return reader_.weights().entered(tape, reader_.weights().first(tape)); });
    const auto width = static_cast<long>(reader_.d_model());
    const auto summary = summaries_.begin() + static_cast<long>(i - first_summary_) * width;
    std::vector<float> memories, keys;
    const size_t n = std::min(i, static_cast<size_t>(settings().recalled));
    for (size_t j = i - n; j < i; ++j) {
      memories.insert(memories.end(), records_.memory(j).begin(), records_.memory(j).end());
      keys.insert(keys.end(), records_.key(j).begin(), records_.key(j).end());
    }
    return reader_.on_tape([&](Tape& tape) {
      const train::MemoryWeights& weights = reader_.weights();
      const Var asks = weights.routed(tape, reader_.rows(tape, {summary, summary + width}));
      const Var compared = tape.constant(static_cast<int>(n), static_cast<int>(keys.size() / n), keys);
      return weights.entered(
          tape, weights.mixed(tape, tape.product(asks, false, compared, true), reader_.rows(tape, memories)));
    });
  }

  const Segments& text_;
  MemoryReader& reader_;
  KvStore& store_;
  MemoryRecords& records_;
  std::stop_token stop_;
  std::vector<float> summaries_;  // of segments from first_summary_ on
  size_t first_summary_ = 0;
};

}  // namespace

Status encode_segments(const Segments& text, MemoryReader& reader, KvStore& store, MemoryRecords& records,
                       std::stop_token stop) {
  return SegmentEncoding(text, reader, store, records, std::move(stop)).run();
}

}  // namespace longleaf
