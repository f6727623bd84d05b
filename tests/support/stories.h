// stories260K (llama2.c, MIT) as a GGUF file: the one real language model the tests have.
#pragma once

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "kernels/blocks.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/quantize.h"
#include "tests/support/shared_data.h"

namespace longleaf::test {

// llama2.c version 0: seven i32 (dim, hidden, layers, heads, kv heads, vocabulary, context), then f32 tensors, each
// kind for all layers: embedding, attention norm, wq, wk, wv, wo, ffn norm, w1, w2, w3, final norm, two rope tables.
//   type   of the matrices whose rows fit its blocks; the others stay F32
//   plain  store what the rounded weights stand for, as F32
inline std::optional<std::string> stories_gguf(kernels::DType type = kernels::DType::F32, bool plain = false) {
  const auto folder = shared_data() / "models/stories260K";
  std::ifstream model(folder / "stories260K.bin", std::ios::binary), pieces(folder / "tok512.bin", std::ios::binary);
  int32_t h[7];
  if (!model.read(reinterpret_cast<char*>(h), sizeof h)) return std::nullopt;
  const auto dim = static_cast<uint64_t>(h[0]), hidden = static_cast<uint64_t>(h[1]),
             layers = static_cast<uint64_t>(h[2]);
  const auto heads = static_cast<uint64_t>(h[3]), kv_heads = static_cast<uint64_t>(h[4]);
  const auto vocabulary = static_cast<uint64_t>(std::abs(h[5])), kv = dim / heads * kv_heads;
  // Rows of 64 and 172 are no whole blocks of 256: zeros behind them change nothing, where norms are told of it. The
  // mean square of a row is a quarter then, heads beyond the eighth say nothing.
  const bool padded = kernels::format_of(type).values == 256;
  const uint64_t wide = padded ? 256 : dim, wide_hidden = padded ? 256 : hidden, more = wide / dim;
  const auto read = [&](uint64_t n) {
    std::vector<float> values(n);
    model.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(n * 4));
    return values;
  };
  GgufWriter gguf;
  gguf.text("general.architecture", "llama");
  gguf.text("general.name", "stories260K");
  gguf.u32("llama.block_count", static_cast<uint32_t>(layers));
  gguf.u32("llama.embedding_length", static_cast<uint32_t>(wide));
  gguf.u32("llama.feed_forward_length", static_cast<uint32_t>(wide_hidden));
  gguf.u32("llama.attention.head_count", static_cast<uint32_t>(heads * more));
  gguf.u32("llama.attention.head_count_kv", static_cast<uint32_t>(kv_heads * more));
  gguf.u32("llama.context_length", static_cast<uint32_t>(h[6]));
  gguf.u32("llama.attention.key_length", static_cast<uint32_t>(dim / heads));
  gguf.u32("llama.attention.value_length", static_cast<uint32_t>(dim / heads));
  gguf.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f / static_cast<float>(more));
  const auto pad = [&](std::vector<uint64_t>& shape, std::vector<float>& values) {
    if (!padded) return;
    const auto size = [&](uint64_t n) { return n == hidden ? wide_hidden : n == vocabulary ? n : n * more; };
    std::vector<uint64_t> to;
    for (const uint64_t n : shape) to.push_back(size(n));
    const uint64_t rows = shape.size() == 2 ? shape[1] : 1;
    std::vector<float> wider(to[0] * (to.size() == 2 ? to[1] : 1));
    for (uint64_t row = 0; row < rows; ++row)
      for (uint64_t i = 0; i < shape[0]; ++i)
        wider[row * to[0] + i] =
            values[row * shape[0] + i] / (shape.size() == 1 ? std::sqrt(static_cast<float>(more)) : 1);
    shape = std::move(to);
    values = std::move(wider);
  };
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape, std::vector<float> values) {
    pad(shape, values);
    const kernels::Format& format = kernels::format_of(type);
    const bool fits = shape.size() == 2 && shape[0] % static_cast<uint64_t>(format.values) == 0;
    if (!fits) return gguf.tensor(name, shape, values);
    const std::string bytes = quantized(type, values);
    if (!plain) return gguf.tensor(name, shape, format.ggml_id, bytes.data(), bytes.size());
    const auto cols = static_cast<int>(shape[0]);
    for (uint64_t row = 0; row < shape[1]; ++row)
      kernels::dequantize_row(type,
                              reinterpret_cast<const uint8_t*>(bytes.data()) + row * kernels::row_bytes(type, cols),
                              cols, &values[row * shape[0]]);
    gguf.tensor(name, shape, values);
  };
  add("token_embd.weight", {dim, vocabulary}, read(dim * vocabulary));
  const auto each = [&](const char* name, std::vector<uint64_t> shape) {
    const uint64_t n = shape.size() == 2 ? shape[0] * shape[1] : shape[0];
    for (uint64_t i = 0; i < layers; ++i) add("blk." + std::to_string(i) + "." + name + ".weight", shape, read(n));
  };
  each("attn_norm", {dim});
  each("attn_q", {dim, dim});
  each("attn_k", {dim, kv});
  each("attn_v", {dim, kv});
  each("attn_output", {dim, dim});
  each("ffn_norm", {dim});
  each("ffn_gate", {dim, hidden});
  each("ffn_down", {hidden, dim});
  each("ffn_up", {dim, hidden});
  add("output_norm.weight", {dim}, read(dim));

  gguf.text("tokenizer.ggml.model", "llama");
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  int32_t longest;
  pieces.read(reinterpret_cast<char*>(&longest), 4);
  for (uint64_t i = 0; i < vocabulary; ++i) {
    float score = 0;
    int32_t length = 0;
    pieces.read(reinterpret_cast<char*>(&score), 4);
    pieces.read(reinterpret_cast<char*>(&length), 4);
    std::string raw(static_cast<size_t>(length), '\0'), text;
    pieces.read(raw.data(), length);
    for (char c : raw) c == ' ' ? text += "\u2581" : text += c;
    tokens.push_back(text);
    scores.push_back(score);
    types.push_back(i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1);
  }
  if (!pieces || !model) return std::nullopt;
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.floats("tokenizer.ggml.scores", scores);
  gguf.ints("tokenizer.ggml.token_type", types);
  gguf.u32("tokenizer.ggml.bos_token_id", 1);
  gguf.u32("tokenizer.ggml.eos_token_id", 2);
  return gguf.bytes();
}

}  // namespace longleaf::test
