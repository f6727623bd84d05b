#include "tests/reader/reader_model.h"

#include <cmath>
#include <functional>
#include <random>

#include "engine/model/gguf_writer.h"
#include "kernels/half.h"
#include "tests/reader/world.h"

namespace longleaf::reader {
namespace {

constexpr float kRopeBase = 1e8f;  // so that most of a head's dimensions say the same at every distance
constexpr const char* kTemplate =
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}<|end|>{% elif m['role'] == 'user' %}"
    "{{ m['content'] }}<|answer|>{% else %}{{ m['content'] }}\n{% endif %}{% endfor %}";

// Writes metadata, and returns the number of tokens.
int describe(GgufWriter& gguf, const ReaderShape& s) {
  gguf.text("general.architecture", "qwen2");
  gguf.text("general.name", "Reader of synthetic manuals");
  gguf.u32("qwen2.block_count", static_cast<uint32_t>(s.layers));
  gguf.u32("qwen2.embedding_length", static_cast<uint32_t>(s.d_model));
  gguf.u32("qwen2.feed_forward_length", static_cast<uint32_t>(s.d_ff));
  gguf.u32("qwen2.attention.head_count", static_cast<uint32_t>(s.heads));
  gguf.u32("qwen2.attention.head_count_kv", static_cast<uint32_t>(s.heads));
  gguf.u32("qwen2.context_length", static_cast<uint32_t>(s.context));
  gguf.f32("qwen2.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.f32("qwen2.rope.freq_base", kRopeBase);
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
    for (const char* name : {"attn_q", "attn_k", "attn_v"}) visit(block + name + ".bias", 1, s.d_model);
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

// What weights begin as: small and random, but for heads that copy what stood behind the same few tokens before (Olsson
// et al., In-context learning and induction heads, arXiv 2209.11895). A small model hardly finds them by itself, and
// learns nothing of reading before it has.
class Start {
 public:
  Start(const ReaderShape& shape, uint64_t seed) : s_(shape), random_(seed) { make_basis(); }

  std::vector<float> values(const std::string& name, int rows, int cols) {
    std::vector<float> v(static_cast<size_t>(rows * cols), name.ends_with(".bias") ? 0.0f : 1.0f);
    if (rows > 1)
      for (float& x : v) x = scale(name, cols) * normal_(random_);
    const auto is = [&name](const char* other) { return name == other; };
    // Layer 0: each head looks at the token so far back, whatever it is, and notes it in directions of its own.
    for (int head = 0; head < kNotes; ++head) {
      if (is("blk.0.attn_q.bias")) point(v, head, head + 1);
      if (is("blk.0.attn_k.bias")) point(v, head, 0);
      if (is("blk.0.attn_v.weight")) clear_rows(v, head), add_rows(v, head, kToken, 0, 1);
      if (is("blk.0.attn_output.weight")) put_columns(v, head, head, 0.1f);
    }
    // Layer 1: heads look for a token in front of which there are this token and those noted, and hand it on.
    for (int head = 0; head < 2; ++head) {
      if (is("blk.1.attn_q.weight")) clear_rows(v, head);
      if (is("blk.1.attn_k.weight")) clear_rows(v, head);
      for (int note = 0; note < kNotes; ++note) {
        if (is("blk.1.attn_q.weight")) add_rows(v, head, note == 0 ? kToken : note - 1, kTurningPairs, 1.2f);
        if (is("blk.1.attn_k.weight")) add_rows(v, head, note, kTurningPairs, 1.2f);
      }
      if (is("blk.1.attn_v.weight")) clear_rows(v, head), add_rows(v, head, kToken, 0, 1);
      if (is("blk.1.attn_output.weight")) put_columns(v, head, kToken, 0.3f);
    }
    return v;
  }

 private:
  static constexpr int kNotes = 4;         // and as many groups of directions
  static constexpr int kToken = kNotes;    // the group that a token's own embedding is read from
  static constexpr int kTurningPairs = 4;  // of a head's dimensions, that turn fast enough to tell near places apart

  int head_dim() const { return s_.d_model / s_.heads; }

  static float scale_of_layers(int layers) { return 0.2f / std::sqrt(2.0f * static_cast<float>(layers)); }
  float scale(const std::string& name, int cols) const {
    if (name == "token_embd.weight") return 0.1f;
    // What adds to the residual stream begins smaller: Radford et al., GPT-2, section 2.3.
    const bool adds = name.find("attn_output") != std::string::npos || name.find("ffn_down") != std::string::npos;
    return (adds ? scale_of_layers(s_.layers) : 1) / std::sqrt(static_cast<float>(cols));
  }

  // An orthonormal basis; a head's worth of directions in a row is a group.
  void make_basis() {
    const auto n = static_cast<size_t>(s_.d_model);
    for (size_t i = 0; i < n; ++i) {
      std::vector<double> v(n);
      for (double& x : v) x = double{normal_(random_)};
      for (const auto& other : basis_) {
        double dot = 0;
        for (size_t j = 0; j < n; ++j) dot += v[j] * other[j];
        for (size_t j = 0; j < n; ++j) v[j] -= dot * other[j];
      }
      double squares = 0;
      for (const double x : v) squares += x * x;
      for (double& x : v) x /= std::sqrt(squares);
      basis_.push_back(std::move(v));
    }
  }
  float direction(int group, int i, int j) const {
    return static_cast<float>(basis_[static_cast<size_t>(group * head_dim() + i)][static_cast<size_t>(j)]);
  }

  // A bias that is the same for all tokens: queries and keys agree best where the key is `back` tokens before.
  void point(std::vector<float>& bias, int head, int back) const {
    constexpr float kLength = 8;
    const int half = head_dim() / 2, first = head * head_dim();
    for (int i = 0; i < kTurningPairs; ++i) {
      const float angle =
          -static_cast<float>(back) * std::pow(kRopeBase, -2 * static_cast<float>(i) / static_cast<float>(head_dim()));
      bias[static_cast<size_t>(first + i)] = kLength * std::cos(angle);
      bias[static_cast<size_t>(first + i + half)] = kLength * std::sin(angle);
    }
  }

  // Rows of a head read a group of directions, but for the first pairs of dimensions.
  void add_rows(std::vector<float>& to, int head, int group, int first_pair, float factor) const {
    for (int i = 0; i < head_dim(); ++i) {
      if (i % (head_dim() / 2) < first_pair) continue;
      for (int j = 0; j < s_.d_model; ++j) at(to, head * head_dim() + i, j) += factor * direction(group, i, j);
    }
  }
  void clear_rows(std::vector<float>& to, int head) const {
    for (int i = 0; i < head_dim(); ++i)
      for (int j = 0; j < s_.d_model; ++j) at(to, head * head_dim() + i, j) = 0;
  }
  // What a head found goes to a group of directions.
  void put_columns(std::vector<float>& to, int head, int group, float factor) const {
    for (int i = 0; i < head_dim(); ++i)
      for (int j = 0; j < s_.d_model; ++j) at(to, j, head * head_dim() + i) = factor * direction(group, i, j);
  }
  float& at(std::vector<float>& square, int row, int col) const {
    return square[static_cast<size_t>(row * s_.d_model + col)];
  }

  const ReaderShape& s_;
  std::mt19937_64 random_;
  std::normal_distribution<float> normal_{0, 1};
  std::vector<std::vector<double>> basis_;
};

}  // namespace

std::string new_model(const ReaderShape& s, uint64_t seed) {
  GgufWriter gguf;
  const int n_vocab = describe(gguf, s);
  Start start(s, seed);
  for_tensors(s, n_vocab, [&](const std::string& name, int rows, int cols) {
    write_tensor(gguf, name, rows, cols, start.values(name, rows, cols), false);
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
