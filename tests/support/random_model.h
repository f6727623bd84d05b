// A llama-style model with random weights and a byte-level vocabulary, written as GGUF: any shape, no download.
#pragma once

#include <cmath>
#include <functional>
#include <random>

#include "tests/support/gguf_writer.h"
#include "tests/support/random_weight.h"

namespace longleaf::test {

struct RandomModel {
  int layers = 2, d_model = 32, heads = 4, kv_heads = 2, d_ff = 64, context = 4096;
  unsigned seed = 1;
  std::string chat_template = "<|im_start|>";  // recognised as ChatML
  kernels::DType type = kernels::DType::F32;   // of the matrices; the dimensions are multiples of its block
  float logit_divisor = 1;
  // Writes another vocabulary and returns its size; by default, one token per byte.
  std::function<int(GgufWriter&)> vocabulary = nullptr;
};

// At least `size` tokens, of which most are never used.
inline int byte_vocabulary(GgufWriter& gguf, int size = 0) {
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  const auto token = [&](const std::string& text, int type) {
    tokens.push_back(text), scores.push_back(0), types.push_back(type);
  };
  token("<unk>", 2), token("<s>", 3), token("</s>", 3);
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(b));
    token(name, 6);
  }
  token("<|im_start|>", 3), token("<|im_end|>", 3);
  while (static_cast<int>(tokens.size()) < size) token("<unused" + std::to_string(tokens.size()) + ">", 5);
  gguf.text("tokenizer.ggml.model", "llama");
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.floats("tokenizer.ggml.scores", scores);
  gguf.ints("tokenizer.ggml.token_type", types);
  gguf.u32("tokenizer.ggml.bos_token_id", 1);
  gguf.u32("tokenizer.ggml.eos_token_id", 2);
  gguf.flag("tokenizer.ggml.add_space_prefix", false);
  return static_cast<int>(tokens.size());
}

inline std::string random_model_gguf(const RandomModel& m) {
  std::mt19937 random(m.seed);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  const auto u = [](int n) { return static_cast<uint64_t>(n); };
  GgufWriter gguf;
  gguf.text("general.architecture", "llama");
  gguf.text("general.name", "random");
  gguf.u32("llama.block_count", static_cast<uint32_t>(m.layers));
  gguf.u32("llama.embedding_length", static_cast<uint32_t>(m.d_model));
  gguf.u32("llama.feed_forward_length", static_cast<uint32_t>(m.d_ff));
  gguf.u32("llama.attention.head_count", static_cast<uint32_t>(m.heads));
  gguf.u32("llama.attention.head_count_kv", static_cast<uint32_t>(m.kv_heads));
  gguf.u32("llama.context_length", static_cast<uint32_t>(m.context));
  gguf.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  if (m.logit_divisor != 1) gguf.f32("llama.logit_scale", m.logit_divisor);
  const auto weights = [&](const std::string& name, int in, int out) {
    if (m.type != kernels::DType::F32) {
      const auto bytes = random_weight(m.type, out, in, random);
      gguf.tensor(name, {u(in), u(out)}, kernels::format_of(m.type).ggml_id, bytes.data(), bytes.size());
      return;
    }
    std::vector<float> values(u(in) * u(out));
    for (auto& x : values) x = normal(random) * 0.7f / std::sqrt(static_cast<float>(in));
    gguf.tensor(name, {u(in), u(out)}, values);
  };
  const auto ones = [&](const std::string& name) {
    gguf.tensor(name, {u(m.d_model)}, std::vector<float>(u(m.d_model), 1.0f));
  };

  gguf.text("tokenizer.chat_template", m.chat_template);
  const int n_vocab = m.vocabulary ? m.vocabulary(gguf) : byte_vocabulary(gguf);

  const int head_dim = m.d_model / m.heads;
  weights("token_embd.weight", m.d_model, n_vocab);
  ones("output_norm.weight");
  for (int i = 0; i < m.layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    ones(block + "attn_norm.weight"), ones(block + "ffn_norm.weight");
    weights(block + "attn_q.weight", m.d_model, m.heads * head_dim);
    weights(block + "attn_k.weight", m.d_model, m.kv_heads * head_dim);
    weights(block + "attn_v.weight", m.d_model, m.kv_heads * head_dim);
    weights(block + "attn_output.weight", m.heads * head_dim, m.d_model);
    weights(block + "ffn_gate.weight", m.d_model, m.d_ff);
    weights(block + "ffn_up.weight", m.d_model, m.d_ff);
    weights(block + "ffn_down.weight", m.d_ff, m.d_model);
  }
  return gguf.bytes();
}

}  // namespace longleaf::test
