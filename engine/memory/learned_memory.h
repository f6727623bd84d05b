// A learned memory in the engine that answers: of a document's tree (H²MT, arXiv 2605.24930), or of its text one
// segment after another (HMT, arXiv 2405.06067), as the adapter says. Memories are read by the model itself and kept in
// a memory file of their own, with what questions are compared to, so a question costs one short pass and a look at a
// few numbers per memory. Not thread-safe: one thread owns it.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>

#include "engine/memory/encoder.h"
#include "engine/memory/memory_records.h"
#include "engine/memory/segments.h"

namespace longleaf {

class LearnedMemory {
 public:
  // `transformer` outlives the object. kv: of the stores that texts are read into. Returns Corrupt where the adapter
  // does not fit its model, NoMemory.
  static Result<std::unique_ptr<LearnedMemory>> load(const AdapterContents& adapter, Transformer& transformer,
                                                     kernels::DType kv);

  // Of the model, all that was trained, and how keys and values are kept.
  uint64_t fingerprint() const { return fingerprint_; }
  const Additions& additions() const { return reader_->additions(); }
  const MemorySettings& settings() const { return reader_->weights().settings(); }
  bool is_recurrent() const { return settings().method == MemoryMethod::Recurrent; }
  Segments segments(const TextTree& tree) const { return Segments(tree, settings().segment_tokens); }

  // A memory file's plan with an entry per memory: of a node, or of a segment.
  MemoryPlan plan(const TextTree& tree, std::span<const int64_t> keys) const;

  // Makes the memories that `file` lacks. On Cancelled or an error, what was finished is kept. `store` is scratch:
  // emptied before and after.
  //   known     of earlier texts: an edited leaf costs its own memory and those of the nodes above it, or those of the
  //             segments from there on
  //   progress  told of every memory that is there, with its number of tokens
  // Returns how many tokens of text were read for it.
  Result<int64_t> encode(const TextTree& tree, KvStore& store, const KnownMemories& known, MemoryFile& file,
                         const std::function<void(size_t tokens)>& progress, std::stop_token stop);
  // What of the document is in a memory file of `folder` that was made with this adapter, of whatever text.
  KnownMemories known(const TextTree& tree, const std::filesystem::path& folder) const;
  // How the files are called.
  std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& document_id) const;

  // All of a file: memories, and what questions are compared to.
  struct Memories {
    std::vector<float> values, keys;  // (n, d_model), (n, d_routing)
  };
  // Returns Corrupt where a record is damaged, or another text's.
  Result<Memories> read(const TextTree& tree, MemoryFile& file) const;

  // What memories are compared to (H²MT, section 3.3; HMT, equation 3): (d_routing). `store` is scratch as above.
  Result<std::vector<float>> asked(std::span<const TokenId> question, KvStore& store, std::stop_token stop);
  // How well a memory answers that.
  static float score(const Memories& memories, std::span<const float> asked, int memory);
  // Some memories, as they stand among embeddings: (n, d_model).
  Result<std::vector<float>> entered(const Memories& memories, std::span<const int> chosen);
  // What a question recalls of memories by their scores, as it stands among embeddings (HMT, equation 3): (1, d_model).
  // Of none, what a text begins with. A score of -INFINITY leaves a memory out, but not of all.
  //   shares  gets how much of it each is
  Result<std::vector<float>> recalled(const Memories& memories, const std::vector<float>& scores,
                                      std::vector<float>& shares);

 private:
  LearnedMemory(std::unique_ptr<MemoryReader> reader, uint64_t fingerprint)
      : reader_(std::move(reader)), fingerprint_(fingerprint) {}
  std::vector<uint64_t> marks_of(const TextTree& tree) const;

  std::unique_ptr<MemoryReader> reader_;
  uint64_t fingerprint_ = 0;
};

}  // namespace longleaf
