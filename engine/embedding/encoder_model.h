// The forward pass of a BERT encoder: every token sees every other; layer normalisation behind each part.
// Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/embedding/embedder.h"
#include "engine/model/model_file.h"
#include "engine/tokenizer/vocabulary.h"
#include "engine/transformer/kv_store.h"
#include "kernels/backend.h"

namespace longleaf {

// Returns Unsupported for what is no such model, Corrupt for what is missing or impossible.
Result<EmbedderFacts> read_encoder_facts(const ModelFile& file);

class EncoderModel {
 public:
  // `backend` must outlive the model, as must `file`. most_tokens: of one pass; memory is taken for them.
  // Returns Corrupt, Unsupported, NoMemory.
  static Result<std::unique_ptr<EncoderModel>> load(const ModelFile& file, const EmbedderFacts& facts,
                                                    const kernels::Backend& backend, int most_tokens);

  int most_tokens() const { return most_tokens_; }
  uint64_t fingerprint() const { return fingerprint_; }

  // The pooled row (d_model) of the last layer. REQUIRES: 0 < ids.size() <= most_tokens(), ids below n_vocab.
  Result<std::vector<float>> run(std::span<const TokenId> ids, std::stop_token stop);

 private:
  struct Norm {
    kernels::DevicePtr weight = nullptr, bias = nullptr;
  };
  struct Linear {
    kernels::PackedWeight w;
    kernels::DevicePtr bias = nullptr;
  };
  struct Layer {
    Linear q, k, v, out, up, down;
    Norm attention_norm, output_norm;
  };

  EncoderModel(const EmbedderFacts& facts, const kernels::Backend& backend, int most_tokens);
  Status read(const ModelFile& file);
  Status allocate();
  Status embed(std::span<const TokenId> ids);
  Status layer(const Layer& w, int n);
  Status attend(int n);
  Status multiply(const Linear& w, const kernels::Buffer& x, kernels::Buffer& out, int n) const;
  Status add_and_normalise(const kernels::Buffer& part, const Norm& norm, int n);

  EmbedderFacts facts_;
  const kernels::Backend& backend_;
  int most_tokens_;
  uint64_t fingerprint_ = 0;
  kernels::Weight words_, places_, kinds_;  // kinds_: of sentences; only the first is used, and it may be missing
  Norm word_norm_;
  std::vector<Layer> layers_;
  std::vector<kernels::Buffer> memory_;  // of the packed weights
  KvStore store_;                        // of one layer at a time
  kernels::Buffer hidden_, q_, k_, v_, part_, wide_, spans_, groups_;
};

}  // namespace longleaf
