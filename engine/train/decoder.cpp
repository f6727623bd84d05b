#include "engine/train/decoder.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/transformer/experts.h"
#include "kernels/blocks.h"

namespace longleaf::train {

using kernels::Weight;

// Makes parameters of what is trained.
class DecoderReader {
 public:
  DecoderReader(Decoder& decoder, const kernels::Backend& backend, const DecoderSettings& settings)
      : d_(decoder),
        settings_(settings),
        packs_(!settings.all_weights && backend.training->unpacks_packed),
        weights_(*decoder.file_, decoder.memory_),
        random_(settings.lora.seed) {
    weights_.use(backend);
  }

  Status read() {
    for (int i = 0; i < d_.config_.n_layers; ++i) LL_RETURN_IF_ERROR(read_layer(i));
    LL_ASSIGN_OR_RETURN(const OutputTensors t, output_tensors(weights_, d_.config_));
    LL_RETURN_IF_ERROR(matrix("token_embd", "", t.embedding, d_.embedding_, t.tied));
    LL_RETURN_IF_ERROR(vector("output_norm", t.norm, d_.output_norm_));
    d_.tied_ = t.tied;
    if (!t.tied) LL_RETURN_IF_ERROR(matrix("output", "", t.output, d_.output_));
    return {};
  }

 private:
  Status read_layer(int index) {
    LL_ASSIGN_OR_RETURN(const LayerTensors t, layer_tensors(weights_, d_.config_, index));
    Decoder::Layer& l = d_.layers_.emplace_back();
    const std::string p = "blk." + std::to_string(index) + ".";
    LL_RETURN_IF_ERROR(vector(p + "attn_norm", t.attn_norm, l.attn_norm));
    LL_RETURN_IF_ERROR(vector(p + "ffn_norm", t.ffn_norm, l.ffn_norm));
    LL_RETURN_IF_ERROR(vector(p + "post_attention_norm", t.attn_post_norm, l.attn_post_norm));
    LL_RETURN_IF_ERROR(vector(p + "post_ffw_norm", t.ffn_post_norm, l.ffn_post_norm));
    LL_RETURN_IF_ERROR(vector(p + "attn_q_norm", t.q_norm, l.q_norm));
    LL_RETURN_IF_ERROR(vector(p + "attn_k_norm", t.k_norm, l.k_norm));
    LL_RETURN_IF_ERROR(vector(p + "attn_q.bias", t.bq, l.bq));
    LL_RETURN_IF_ERROR(vector(p + "attn_k.bias", t.bk, l.bk));
    LL_RETURN_IF_ERROR(vector(p + "attn_v.bias", t.bv, l.bv));
    LL_RETURN_IF_ERROR(matrix(p + "attn_q", "q", t.wq, l.wq));
    LL_RETURN_IF_ERROR(matrix(p + "attn_k", "k", t.wk, l.wk));
    LL_RETURN_IF_ERROR(matrix(p + "attn_v", "v", t.wv, l.wv));
    LL_RETURN_IF_ERROR(matrix(p + "attn_output", "o", t.wo, l.wo));
    if (!t.experts.empty()) return read_experts(p, t, l);
    LL_RETURN_IF_ERROR(matrix(p + "ffn_gate", "gate", t.w_gate, l.gate));
    LL_RETURN_IF_ERROR(matrix(p + "ffn_up", "up", t.w_up, l.up));
    return matrix(p + "ffn_down", "down", t.w_down, l.down);
  }

  Status read_experts(const std::string& p, const LayerTensors& t, Decoder::Layer& l) {
    LL_RETURN_IF_ERROR(matrix(p + "ffn_gate_inp", "", t.router, l.router));
    for (const LayerTensors::Expert& from : t.experts) {
      const std::string suffix = "." + std::to_string(l.experts.size());
      Decoder::Expert& to = l.experts.emplace_back();
      LL_RETURN_IF_ERROR(matrix(p + "ffn_gate" + suffix, "gate", from.w_gate, to.gate));
      LL_RETURN_IF_ERROR(matrix(p + "ffn_up" + suffix, "up", from.w_up, to.up));
      LL_RETURN_IF_ERROR(matrix(p + "ffn_down" + suffix, "down", from.w_down, to.down));
    }
    return {};
  }

  // `target`: its name among LoRA's targets; empty: none. is_multiplied: rows alone are taken out of others.
  Status matrix(const std::string& name, const std::string& target, const Weight& from, Decoder::Matrix& to,
                bool is_multiplied = true) {
    to.stored = from;
    if (packs_ && is_multiplied) {
      LL_ASSIGN_OR_RETURN(const kernels::PackedWeight packed, weights_.packed(from));
      to.packed = packed.data;
    }
    if (settings_.all_weights) {
      std::vector<float> values(static_cast<size_t>(int64_t{from.rows} * from.cols));
      const size_t stride = kernels::row_bytes(from.type, from.cols);
      for (int i = 0; i < from.rows; ++i)
        kernels::dequantize_row(from.type, from.data + static_cast<size_t>(i) * stride, from.cols,
                                values.data() + int64_t{i} * from.cols);
      LL_ASSIGN_OR_RETURN(to.trained, d_.parameters_.add(name + ".weight", from.rows, from.cols, values));
    }
    const LoraSettings& lora = settings_.lora;
    if (lora.rank == 0 || lora.targets.count(target) == 0) return {};
    // A random, B zero: the first step begins at the model as it is.
    const float bound = 1 / std::sqrt(static_cast<float>(from.cols));
    std::uniform_real_distribution<float> uniform(-bound, bound);
    std::vector<float> a(static_cast<size_t>(lora.rank * from.cols));
    for (float& x : a) x = uniform(random_);
    const std::vector<float> b(static_cast<size_t>(from.rows * lora.rank));
    LL_ASSIGN_OR_RETURN(to.lora_a, d_.parameters_.add(name + ".weight.lora_a", lora.rank, from.cols, a));
    LL_ASSIGN_OR_RETURN(to.lora_b, d_.parameters_.add(name + ".weight.lora_b", from.rows, lora.rank, b));
    return {};
  }

  Status vector(const std::string& name, const std::vector<float>& from, Decoder::Vector& to) {
    to.values = from;
    if (!settings_.all_weights || from.empty()) return {};
    const std::string full = name.ends_with(".bias") ? name : name + ".weight";
    LL_ASSIGN_OR_RETURN(to.trained, d_.parameters_.add(full, 1, static_cast<int>(from.size()), from));
    to.trained->decays = false;
    return {};
  }

  Decoder& d_;
  const DecoderSettings& settings_;
  bool packs_;
  Weights weights_;
  std::mt19937_64 random_;
};

Result<std::unique_ptr<Decoder>> Decoder::create(std::shared_ptr<const ModelFile> file, const kernels::Backend& backend,
                                                 Parameters& parameters, const DecoderSettings& settings) {
  std::unique_ptr<Decoder> decoder(new Decoder(std::move(file), parameters));
  LL_ASSIGN_OR_RETURN(decoder->config_, read_model_config(*decoder->file_));
  LL_RETURN_IF_ERROR(check_decoder_tensors(*decoder->file_, decoder->config_));
  decoder->keeps_layers_ = settings.keeps_layers;
  if (settings.lora.rank > 0) decoder->lora_scale_ = settings.lora.alpha / static_cast<float>(settings.lora.rank);
  LL_RETURN_IF_ERROR(DecoderReader(*decoder, backend, settings).read());
  return decoder;
}

uint64_t Decoder::packed_bytes() const {
  uint64_t sum = 0;
  for (const kernels::Buffer& buffer : memory_) sum += buffer.bytes();
  return sum;
}

Var Decoder::on(Tape& tape, const Matrix& m) const {
  return m.trained != nullptr ? parameters_.on(tape, *m.trained) : tape.unpacked(m.stored, m.packed);
}

Var Decoder::on(Tape& tape, const Vector& v) const {
  if (v.trained != nullptr) return parameters_.on(tape, *v.trained);
  return tape.constant(1, static_cast<int>(v.values.size()), v.values);
}

Var Decoder::linear(Tape& tape, Var x, const Matrix& w) const {
  const Var y = tape.product(x, false, on(tape, w), true);
  if (w.lora_a == nullptr) return y;
  const Var low = tape.product(x, false, parameters_.on(tape, *w.lora_a), true);
  return tape.add(y, tape.product(low, false, parameters_.on(tape, *w.lora_b), true), lora_scale_);
}

Var Decoder::biased(Tape& tape, Var x, const Vector& bias) const {
  return bias.values.empty() ? x : tape.add_row(x, on(tape, bias));
}

Var Decoder::normed(Tape& tape, Var x, const Vector& weight) const {
  return weight.values.empty() ? x : tape.rms_norm(x, on(tape, weight), config_.norm_eps);
}

Var Decoder::embed(Tape& tape, std::span<const TokenId> tokens) const {
  const Var rows = embedding_.trained != nullptr
                       ? tape.gathered(parameters_.on(tape, *embedding_.trained), {tokens.begin(), tokens.end()})
                       : tape.embedded(embedding_.stored, tokens);
  return tape.scaled(rows, config_.embedding_scale);
}

Var Decoder::run(Tape& tape, Var hidden, const Batch& batch) const {
  const auto shared = std::make_shared<const Batch>(batch);
  for (int i = 0; i < config_.n_layers; ++i) {
    const auto run_layer = [this, &tape, i, shared](Var x) { return layer(tape, i, x, *shared); };
    hidden = keeps_layers_ ? run_layer(hidden) : tape.checkpoint(hidden, run_layer);
  }
  return normed(tape, hidden, output_norm_);
}

double Decoder::loss(Tape& tape, Var rows, std::vector<int32_t> targets, std::vector<float> weights) const {
  return tape.cross_entropy(rows, on(tape, tied_ ? embedding_ : output_), std::move(targets), std::move(weights),
                            config_.logit_scale, config_.logit_soft_cap);
}

Var Decoder::logits(Tape& tape, Var rows) const {
  return tape.product(rows, false, on(tape, tied_ ? embedding_ : output_), true);
}

Decoder::Guesses Decoder::guess(Tape& tape, Var rows, std::span<const int32_t> targets) const {
  const std::vector<float> values = tape.read(logits(tape, rows));
  Guesses guesses;
  const auto width = static_cast<size_t>(config_.n_vocab);
  std::vector<double> z(width);
  for (size_t i = 0; (i + 1) * width <= values.size(); ++i) {
    for (size_t c = 0; c < width; ++c) {
      z[c] = double{values[i * width + c]} * double{config_.logit_scale};
      const auto cap = double{config_.logit_soft_cap};
      if (cap > 0) z[c] = cap * std::tanh(z[c] / cap);
    }
    const auto best = std::max_element(z.begin(), z.end());
    double total = 0;
    for (const double x : z) total += std::exp(x - *best);
    guesses.tokens.push_back(static_cast<TokenId>(best - z.begin()));
    guesses.loss += *best + std::log(total) - z[static_cast<size_t>(targets[i])];
  }
  return guesses;
}

int64_t Decoder::layer_numbers() const {
  int64_t most = 0;
  for (int i = 0; i < config_.n_layers; ++i) most = std::max(most, numbers_of(i));
  return most;
}

// What the functions below put on the tape, in their order.
int64_t Decoder::numbers_of(int index) const {
  const Layer& l = layers_[static_cast<size_t>(index)];
  const bool turns = config_.layers[static_cast<size_t>(index)].rope != RopeKind::None;
  const auto linear = [](const Matrix& w) {
    const int64_t width = w.stored.rows;
    return w.lora_a == nullptr ? width : 3 * width + w.lora_a->rows;
  };
  const auto where = [](const Vector& v, int64_t width) { return v.values.empty() ? 0 : width; };
  const auto gated = [&](const Matrix& gate, const Matrix& up, const Matrix& down) {
    return linear(gate) + linear(up) + gate.stored.rows + linear(down);
  };
  const int64_t d = config_.d_model, q = l.wq.stored.rows, kv = l.wk.stored.rows;
  const int64_t n = where(l.attn_norm, d) + linear(l.wq) + where(l.bq, q) + where(l.q_norm, q) + (turns ? q + kv : 0) +
                    linear(l.wk) + where(l.bk, kv) + where(l.k_norm, kv) + linear(l.wv) + where(l.bv, kv) + q +
                    config_.n_heads + linear(l.wo) + where(l.attn_post_norm, d) + d + where(l.ffn_norm, d) +
                    where(l.ffn_post_norm, d) + d;
  if (l.experts.empty()) return n + gated(l.gate, l.up, l.down);
  const Expert& e = l.experts.front();
  // What an expert takes, gives, its share of that, and where it belongs; the router's scores twice.
  return n + 2 * linear(l.router) + d + config_.n_experts_used * (3 * d + 4 + gated(e.gate, e.up, e.down));
}

Var Decoder::layer(Tape& tape, int index, Var hidden, const Batch& batch) const {
  const Layer& l = layers_[static_cast<size_t>(index)];
  Var part = attention(tape, index, normed(tape, hidden, l.attn_norm), batch);
  hidden = tape.add(hidden, normed(tape, part, l.attn_post_norm), config_.residual_scale);
  const Var x = normed(tape, hidden, l.ffn_norm);
  part = l.experts.empty() ? feed_forward(tape, x, l.gate, l.up, l.down) : experts(tape, x, l);
  return tape.add(hidden, normed(tape, part, l.ffn_post_norm), config_.residual_scale);
}

Var Decoder::attention(Tape& tape, int index, Var x, const Batch& batch) const {
  const Layer& l = layers_[static_cast<size_t>(index)];
  const LayerConfig& c = config_.layers[static_cast<size_t>(index)];
  const Var q = heads(tape, biased(tape, linear(tape, x, l.wq), l.bq), l.q_norm, c.rope, config_.n_heads, batch);
  const Var k = heads(tape, biased(tape, linear(tape, x, l.wk), l.bk), l.k_norm, c.rope, config_.n_kv_heads, batch);
  const Var v = biased(tape, linear(tape, x, l.wv), l.bv);
  const Heads shape{config_.n_heads,         config_.n_kv_heads,         config_.head_dim,
                    config_.attention_scale, config_.attention_soft_cap, c.window};
  return linear(tape, tape.attention(q, k, v, batch, shape), l.wo);
}

Var Decoder::heads(Tape& tape, Var x, const Vector& norm, RopeKind kind, int n_heads, const Batch& batch) const {
  x = normed(tape, x, norm);
  if (kind == RopeKind::None) return x;
  const auto& inv_freq = kind == RopeKind::Global ? config_.rope_inv_freq : config_.local_rope_inv_freq;
  return tape.rotated(x, batch, {inv_freq, config_.rope_dims, config_.rope_style, config_.rope_magnitude}, n_heads);
}

Var Decoder::feed_forward(Tape& tape, Var x, const Matrix& gate, const Matrix& up, const Matrix& down) const {
  const Var opened = tape.gated(config_.architecture->activation, linear(tape, x, gate), linear(tape, x, up));
  return linear(tape, opened, down);
}

// As transformer/experts.cpp: gradients reach the router through the weights of the chosen.
Var Decoder::experts(Tape& tape, Var x, const Layer& l) const {
  const int n = tape.rows(x), n_experts = config_.n_experts, n_used = config_.n_experts_used;
  const Var scores = linear(tape, x, l.router);
  const std::vector<float> values = tape.read(scores);
  if (!tape.status().ok()) return {};
  std::vector<int32_t> chosen = best_experts(values, n, n_experts, n_used), places = chosen;
  for (size_t i = 0; i < places.size(); ++i) places[i] += static_cast<int32_t>(i) / n_used * n_experts;
  const Var flat = tape.gathered(tape.reshaped(scores, n * n_experts, 1), places);
  const Var shares = tape.reshaped(tape.softmax(tape.reshaped(flat, n, n_used)), n * n_used, 1);

  std::vector<Var> parts;
  std::vector<int32_t> all_tokens;
  for (int e = 0; e < n_experts; ++e) {
    std::vector<int32_t> tokens, entries;
    for (size_t i = 0; i < chosen.size(); ++i)
      if (chosen[i] == e) {
        tokens.push_back(static_cast<int32_t>(i) / n_used);
        entries.push_back(static_cast<int32_t>(i));
      }
    if (tokens.empty()) continue;
    all_tokens.insert(all_tokens.end(), tokens.begin(), tokens.end());
    const Expert& expert = l.experts[static_cast<size_t>(e)];
    const Var y = feed_forward(tape, tape.gathered(x, tokens), expert.gate, expert.up, expert.down);
    parts.push_back(tape.row_scaled(y, tape.gathered(shares, entries)));
  }
  return tape.scattered(tape.stacked(parts), all_tokens, n);
}

}  // namespace longleaf::train
