// Models that turn a text into one vector: BERT (Devlin et al., arXiv 1810.04805) and what is built like it (MiniLM,
// BGE, E5). Texts that are near in meaning get vectors with a large dot product. Not thread-safe: one thread owns it.
#pragma once

#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace longleaf {

enum class Pooling { Mean, First };  // of the last layer's rows: their mean, or the first one ("[CLS]")

struct EmbedderFacts {
  std::string title, weight_format;
  int n_layers = 0, d_model = 0, n_heads = 0, d_ff = 0, n_vocab = 0;
  int context_tokens = 0;
  int first_position = 0;  // RoBERTa's first token stands at 2
  float norm_eps = 1e-12f;
  Pooling pooling = Pooling::Mean;
  uint64_t weight_bytes = 0;
};

// What a text is to the search. Some models are trained with words in front that say so.
enum class TextRole { Passage, Question };

// Reads a model's description without loading it. Returns as Embedder::load.
Result<EmbedderFacts> describe_embedder(const std::filesystem::path& file);
// True when `file` says it is such a model; false for all others and for what cannot be read.
bool is_embedder(const std::filesystem::path& file);

class Embedder {
 public:
  // Returns NotFound, Corrupt, Unsupported, NoMemory.
  static Result<std::unique_ptr<Embedder>> load(const std::filesystem::path& file, int n_threads = 0);
  ~Embedder();

  const EmbedderFacts& facts() const { return facts_; }
  // Changes when weights, vocabulary or settings change.
  uint64_t fingerprint() const { return fingerprint_; }

  // (d_model), of length 1; of length 0 for a text without tokens. A text that is longer than the model reads is read
  // in parts, and gets their mean. Returns NoMemory, Cancelled, and Io where the model's file is gone.
  Result<std::vector<float>> embed(std::string_view text, TextRole role, std::stop_token stop = {});

 private:
  Embedder() = default;
  struct Parts;
  EmbedderFacts facts_;
  uint64_t fingerprint_ = 0;
  std::unique_ptr<Parts> parts_;
};

}  // namespace longleaf
