// The decoder of a model file, as training needs it: the same description as the forward pass of transformer/, written
// on a tape. Weights that are not trained stay in the file's format, in the file or packed on a card, and are unpacked
// a layer at a time. Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/model/decoder_tensors.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/train/parameters.h"

namespace longleaf::train {

// Low-rank additions to matrices: y = W x + scale * B A x. Hu et al., LoRA, arXiv 2106.09685.
struct LoraSettings {
  int rank = 0;      // 0: none
  float alpha = 16;  // scale = alpha / rank
  std::set<std::string> targets = {"q", "k", "v", "o", "gate", "up", "down"};
  uint64_t seed = 1;
};

struct DecoderSettings {
  bool all_weights = false;   // train every weight of the file, not only the additions
  bool keeps_layers = false;  // what layers compute is kept, not computed twice: faster, for models that are small
  LoraSettings lora;
};

class Decoder {
 public:
  // `parameters` gets what is trained, and, like `backend`, outlives the decoder.
  // Returns what reading the file returns, and NoMemory.
  static Result<std::unique_ptr<Decoder>> create(std::shared_ptr<const ModelFile> file, const kernels::Backend& backend,
                                                 Parameters& parameters, const DecoderSettings& settings);

  const ModelConfig& config() const { return config_; }

  uint64_t packed_bytes() const;  // of weights in the device's memory
  // Numbers that the largest layer makes of a token while it runs; there are as many gradients.
  int64_t layer_numbers() const;

  // Of embeddings, as the file has it.
  const kernels::Weight& table() const { return embedding_.stored; }
  // Embeddings as layers take them: (n, d_model).
  Var embed(Tape& tape, std::span<const TokenId> tokens) const;
  // All layers and the last norm, over sequences of rows like those of embed: (n, d_model).
  Var run(Tape& tape, Var hidden, const Batch& batch) const;
  // Sum of weights[i] times the loss of targets[i] behind row i of what run() gave.
  double loss(Tape& tape, Var rows, std::vector<int32_t> targets, std::vector<float> weights) const;
  // Scores of all tokens behind every such row, as the output matrix gives them: (n, n_vocab).
  Var logits(Tape& tape, Var rows) const;
  // The likeliest token behind every such row, and the sum of the losses of `targets`, without gradients.
  struct Guesses {
    std::vector<TokenId> tokens;
    double loss = 0;
  };
  Guesses guess(Tape& tape, Var rows, std::span<const int32_t> targets) const;

 private:
  struct Matrix {
    kernels::Weight stored;
    kernels::DevicePtr packed = nullptr;  // of those that are not trained, on a device that unpacks that
    Parameter* trained = nullptr;
    Parameter *lora_a = nullptr, *lora_b = nullptr;  // (rank, cols), (rows, rank)
  };
  struct Vector {
    std::vector<float> values;  // empty: none
    Parameter* trained = nullptr;
  };
  struct Expert {
    Matrix gate, up, down;
  };
  struct Layer {
    Vector attn_norm, ffn_norm, attn_post_norm, ffn_post_norm, q_norm, k_norm, bq, bk, bv;
    Matrix wq, wk, wv, wo, gate, up, down, router;
    std::vector<Expert> experts;
  };

  Decoder(std::shared_ptr<const ModelFile> file, Parameters& parameters)
      : file_(std::move(file)), parameters_(parameters) {}
  Status read(const kernels::Backend& backend, const DecoderSettings& settings);
  Var on(Tape& tape, const Matrix& matrix) const;
  Var on(Tape& tape, const Vector& vector) const;
  Var linear(Tape& tape, Var x, const Matrix& w) const;
  Var biased(Tape& tape, Var x, const Vector& bias) const;
  Var normed(Tape& tape, Var x, const Vector& weight) const;  // x itself where there is none
  int64_t numbers_of(int index) const;
  Var layer(Tape& tape, int index, Var hidden, const Batch& batch) const;
  Var attention(Tape& tape, int index, Var x, const Batch& batch) const;
  Var heads(Tape& tape, Var x, const Vector& norm, RopeKind kind, int n_heads, const Batch& batch) const;
  Var feed_forward(Tape& tape, Var x, const Matrix& gate, const Matrix& up, const Matrix& down) const;
  Var experts(Tape& tape, Var x, const Layer& layer) const;

  friend class DecoderReader;
  std::shared_ptr<const ModelFile> file_;
  std::vector<kernels::Buffer> memory_;  // of packed weights
  Parameters& parameters_;
  ModelConfig config_;
  std::vector<Layer> layers_;
  Matrix embedding_, output_;
  Vector output_norm_;
  bool tied_ = false;
  float lora_scale_ = 0;
  bool keeps_layers_ = false;
};

}  // namespace longleaf::train
