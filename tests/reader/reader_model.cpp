#include "tests/reader/reader_model.h"

#include <cmath>
#include <functional>
#include <random>

#include "engine/model/gguf_writer.h"
#include "kernels/half.h"
#include "tests/reader/world.h"

namespace longleaf::reader {
namespace {

constexpr const char* kTemplate =
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}<|end|>{% elif m['role'] == 'user' %}"
    "{{ m['content'] }}<|answer|>{% else %}{{ m['content'] }}\n{% endif %}{% endfor %}";

// Writes metadata, and returns the number of tokens.
int describe(GgufWriter& gguf, const ReaderShape& s) {
  gguf.text("general.architecture", "llama");
  gguf.text("general.name", "Reader of synthetic manuals");
  gguf.u32("llama.block_count", static_cast<uint32_t>(s.layers));
  gguf.u32("llama.embedding_length", static_cast<uint32_t>(s.d_model));
  gguf.u32("llama.feed_forward_length", static_cast<uint32_t>(s.d_ff));
  gguf.u32("llama.attention.head_count", static_cast<uint32_t>(s.heads));
  gguf.u32("llama.attention.head_count_kv", static_cast<uint32_t>(s.heads));
  gguf.u32("llama.context_length", static_cast<uint32_t>(s.context));
  gguf.f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  std::vector<std::string> tokens = {"<unk>", "<s>", "<|end|>", "<|answer|>"};
  std::vector<int32_t> types = {2, 3, 3, 3};
  std::vector<float> scores(4, 0.0f);
  for (const ScoredPiece& piece : vocabulary()) {
    tokens.push_back(piece.text);
    scores.push_back(piece.score);
    types.push_back(1);
  }
  gguf.text("tokenizer.ggml.model", "t5");
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.floats("tokenizer.ggml.scores", scores);
  gguf.ints("tokenizer.ggml.token_type", types);
  gguf.u32("tokenizer.ggml.unknown_token_id", 0);
  gguf.u32("tokenizer.ggml.bos_token_id", 1);
  gguf.u32("tokenizer.ggml.eos_token_id", 2);
  gguf.flag("tokenizer.ggml.add_bos_token", true);
  gguf.flag("tokenizer.ggml.add_eos_token", false);
  gguf.flag("tokenizer.ggml.add_space_prefix", false);
  gguf.text("tokenizer.chat_template", kTemplate);
  return static_cast<int>(tokens.size());
}

// Calls visit(name, rows, cols) for every tensor; vectors have one row.
void for_tensors(const ReaderShape& s, int n_vocab, const std::function<void(const std::string&, int, int)>& visit) {
  visit("token_embd.weight", n_vocab, s.d_model);
  visit("output_norm.weight", 1, s.d_model);
  for (int i = 0; i < s.layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    visit(block + "attn_norm.weight", 1, s.d_model);
    visit(block + "ffn_norm.weight", 1, s.d_model);
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"})
      visit(block + name + ".weight", s.d_model, s.d_model);
    for (const char* name : {"ffn_gate", "ffn_up"}) visit(block + name + ".weight", s.d_ff, s.d_model);
    visit(block + "ffn_down.weight", s.d_model, s.d_ff);
  }
}

void write_tensor(GgufWriter& gguf, const std::string& name, int rows, int cols, const std::vector<float>& values,
                  bool half) {
  const auto r = static_cast<uint64_t>(rows), c = static_cast<uint64_t>(cols);
  if (rows == 1) {
    gguf.tensor(name, {c}, values);
  } else if (!half) {
    gguf.tensor(name, {c, r}, values);
  } else {
    std::vector<uint16_t> halves;
    for (const float x : values) halves.push_back(kernels::float_to_half(x));
    gguf.tensor(name, {c, r}, 1, halves.data(), halves.size() * 2);
  }
}

}  // namespace

std::string new_model(const ReaderShape& s, uint64_t seed) {
  GgufWriter gguf;
  const int n_vocab = describe(gguf, s);
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 1);
  for_tensors(s, n_vocab, [&](const std::string& name, int rows, int cols) {
    std::vector<float> values(static_cast<size_t>(rows * cols), 1.0f);
    // What adds to the residual stream begins smaller: Radford et al., GPT-2, section 2.3.
    const bool adds = name.find("attn_output") != std::string::npos || name.find("ffn_down") != std::string::npos;
    const float scale = name == "token_embd.weight" ? 0.05f
                                                    : (adds ? 1 / std::sqrt(2.0f * static_cast<float>(s.layers)) : 1) /
                                                          std::sqrt(static_cast<float>(cols));
    if (rows > 1)
      for (float& x : values) x = scale * normal(random);
    write_tensor(gguf, name, rows, cols, values, false);
  });
  return gguf.bytes();
}

Result<std::string> trained_model(const ReaderShape& s, const train::Parameters& parameters) {
  GgufWriter gguf;
  const int n_vocab = describe(gguf, s);
  Status status;
  for_tensors(s, n_vocab, [&](const std::string& name, int rows, int cols) {
    const train::Parameter* p = parameters.find(name);
    if (!status.ok() || p == nullptr) return;
    auto values = parameters.values(*p);
    if (values.ok())
      write_tensor(gguf, name, rows, cols, *values, true);
    else
      status = values.status();
  });
  if (!status.ok()) return status;
  return gguf.bytes();
}

}  // namespace longleaf::reader
