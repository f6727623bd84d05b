// The learned memory of H²MT (arXiv 2605.24930) in the engine that answers: an adapter's parts beside the model they
// were trained for. A node's memory is read by the model itself; it is kept in a memory file of its own, with what
// questions are compared to, so a question costs one short pass and a look at a few numbers per node. Not thread-safe:
// one thread owns it.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <unordered_map>

#include "engine/memory/encoder.h"
#include "engine/memory/text_tree.h"
#include "engine/train/memory_weights.h"

namespace longleaf {

// By what a node says and what is below it: memories that need not be made again.
using KnownMemories = std::unordered_map<uint64_t, std::vector<float>>;

class LearnedMemory {
 public:
  // `transformer` outlives the object. Returns Corrupt where the adapter does not fit its model, NoMemory.
  static Result<std::unique_ptr<LearnedMemory>> load(const AdapterContents& adapter, Transformer& transformer);

  // Of the model and all that was trained.
  uint64_t fingerprint() const { return fingerprint_; }
  const Additions& additions() const { return *additions_; }
  const MemorySettings& settings() const { return weights_->settings(); }

  // A memory file's plan with an entry per node of the tree.
  MemoryPlan plan(const TextTree& tree, std::span<const int64_t> keys) const;

  // Makes the memories that `file` lacks, children first (section 3.2.2), those of one depth together. On Cancelled or
  // an error, what was finished is kept. `store` is scratch: emptied before and after.
  //   known     of earlier texts: an edited leaf costs its own memory and those of the nodes above it
  //   progress  told of every node that is there, with its number of tokens
  // Returns how many tokens of text were read for it.
  Result<int64_t> encode(const TextTree& tree, KvStore& store, const KnownMemories& known, MemoryFile& file,
                         const std::function<void(size_t tokens)>& progress, std::stop_token stop);
  // What of the tree is in a memory file of `folder` that was made with this adapter, of whatever text.
  KnownMemories known(const TextTree& tree, const std::filesystem::path& folder) const;
  // How the files are called.
  std::filesystem::path path_of(const std::filesystem::path& folder, const std::string& document_id) const;

  // All of a file: memories, and what questions are compared to.
  struct Nodes {
    std::vector<float> memories, keys;  // (n, d_model), (n, d_routing)
  };
  // Returns Corrupt where a record is damaged, or another node's.
  Result<Nodes> read(const TextTree& tree, MemoryFile& file) const;

  // How well each node answers the question (section 3.3). `store` is scratch as above.
  Result<std::vector<float>> scores(std::span<const TokenId> question, const Nodes& nodes, KvStore& store,
                                    std::stop_token stop);
  // Memories of some nodes, as they stand among embeddings: (n, d_model).
  Result<std::vector<float>> entered(const Nodes& nodes, std::span<const int> chosen);

 private:
  explicit LearnedMemory(Transformer& transformer);
  friend class MemoryEncoding;
  struct Text {
    std::span<const TokenId> tokens;
    const float* inner = nullptr;  // in front of it, as it stands among embeddings; nullptr: nothing
  };
  // States of e_read in [e_write; inner; text; e_read]: (n, d_model).
  Result<std::vector<float>> read(std::span<const Text> texts, KvStore& store, std::stop_token stop);
  Result<std::vector<float>> on_tape(const std::function<train::Var(train::Tape&)>& f);

  Transformer& transformer_;
  size_t d_model_;
  kernels::BackendPtr host_;  // for what is too small for a card
  train::Parameters parameters_;
  train::Tape tape_;
  std::unique_ptr<train::MemoryWeights> weights_;
  std::unique_ptr<Additions> additions_;
  std::vector<float> e_write_, e_read_;
  uint64_t fingerprint_ = 0;
};

}  // namespace longleaf
