#include "engine/model/decoder_tensors.h"

namespace longleaf {
namespace {

using kernels::Weight;

// The tensors of one layer.
class LayerReader {
 public:
  LayerReader(Weights& weights, const ModelConfig& config, int layer)
      : weights_(weights), config_(config), prefix_("blk." + std::to_string(layer) + ".") {}

  Result<LayerTensors> read() {
    LL_RETURN_IF_ERROR(norms());
    LL_RETURN_IF_ERROR(attention());
    LL_RETURN_IF_ERROR(config_.n_experts > 0 ? experts() : feed_forward());
    return std::move(t_);
  }

 private:
  Status norms() {
    const Architecture& a = *config_.architecture;
    if (a.norm_before) {
      LL_ASSIGN_OR_RETURN(t_.attn_norm, norm("attn_norm", d_));
      LL_ASSIGN_OR_RETURN(t_.ffn_norm, norm("ffn_norm", d_));
    }
    if (a.norm_after) {
      LL_ASSIGN_OR_RETURN(t_.attn_post_norm, norm("post_attention_norm", d_));
      LL_ASSIGN_OR_RETURN(t_.ffn_post_norm, norm("post_ffw_norm", d_));
    }
    if (a.qk_norm == QkNorm::None) return {};
    const bool whole = a.qk_norm == QkNorm::Whole;
    LL_ASSIGN_OR_RETURN(t_.q_norm, norm("attn_q_norm", whole ? q_ : config_.head_dim));
    LL_ASSIGN_OR_RETURN(t_.k_norm, norm("attn_k_norm", whole ? kv_ : config_.head_dim));
    return {};
  }

  Status attention() {
    if (config_.architecture->fused && weights_.has(prefix_ + "attn_qkv.weight")) {
      LL_ASSIGN_OR_RETURN(const Weight all, weights_.stored(prefix_ + "attn_qkv.weight", {d_, q_ + 2 * kv_}));
      t_.wq = Weights::rows(all, 0, q_);
      t_.wk = Weights::rows(all, q_, kv_);
      t_.wv = Weights::rows(all, q_ + kv_, kv_);
    } else {
      LL_ASSIGN_OR_RETURN(t_.wq, matrix("attn_q", q_, d_));
      LL_ASSIGN_OR_RETURN(t_.wk, matrix("attn_k", kv_, d_));
      LL_ASSIGN_OR_RETURN(t_.wv, matrix("attn_v", kv_, d_));
    }
    LL_ASSIGN_OR_RETURN(t_.wo, matrix("attn_output", d_, q_));
    LL_ASSIGN_OR_RETURN(t_.bq, bias("attn_q", q_));
    LL_ASSIGN_OR_RETURN(t_.bk, bias("attn_k", kv_));
    LL_ASSIGN_OR_RETURN(t_.bv, bias("attn_v", kv_));
    return {};
  }

  Status feed_forward() {
    if (config_.architecture->fused && !weights_.has(prefix_ + "ffn_gate.weight")) {
      LL_ASSIGN_OR_RETURN(const Weight both, weights_.stored(prefix_ + "ffn_up.weight", {d_, 2 * ff_}));
      t_.w_gate = Weights::rows(both, 0, ff_);
      t_.w_up = Weights::rows(both, ff_, ff_);
    } else {
      LL_ASSIGN_OR_RETURN(t_.w_gate, matrix("ffn_gate", ff_, d_));
      LL_ASSIGN_OR_RETURN(t_.w_up, matrix("ffn_up", ff_, d_));
    }
    LL_ASSIGN_OR_RETURN(t_.w_down, matrix("ffn_down", d_, ff_));
    return {};
  }

  Status experts() {
    LL_ASSIGN_OR_RETURN(t_.router, matrix("ffn_gate_inp", config_.n_experts, d_));
    t_.experts.resize(static_cast<size_t>(config_.n_experts));
    struct Part {
      const char* name;
      Weight LayerTensors::Expert::*weight;
      int rows, cols;
    };
    for (const Part& part : {Part{"ffn_gate", &LayerTensors::Expert::w_gate, ff_, d_},
                             Part{"ffn_up", &LayerTensors::Expert::w_up, ff_, d_},
                             Part{"ffn_down", &LayerTensors::Expert::w_down, d_, ff_}})
      for (int e = 0; e < config_.n_experts; ++e) {
        auto weight = expert(part.name, e, part.rows, part.cols);
        if (!weight.ok()) return weight.status();
        t_.experts[static_cast<size_t>(e)].*part.weight = *weight;
      }
    return {};
  }

  // One expert's rows of the tensor of all experts, or its own tensor.
  Result<Weight> expert(const std::string& name, int e, int n_rows, int cols) {
    if (!weights_.has(prefix_ + name + "_exps.weight")) return matrix(name + "." + std::to_string(e), n_rows, cols);
    LL_ASSIGN_OR_RETURN(const Weight all,
                        weights_.stored(prefix_ + name + "_exps.weight", {cols, n_rows, config_.n_experts}));
    return Weights::rows(all, e * n_rows, n_rows);
  }

  Result<Weight> matrix(const std::string& name, int n_rows, int cols) {
    return weights_.stored(prefix_ + name + ".weight", {cols, n_rows});
  }
  Result<std::vector<float>> norm(const std::string& name, int n) {
    return weights_.values(prefix_ + name + ".weight", n, config_.norm_offset);
  }
  Result<std::vector<float>> bias(const std::string& name, int n) {
    if (!weights_.has(prefix_ + name + ".bias")) return std::vector<float>();
    return weights_.values(prefix_ + name + ".bias", n);
  }

  Weights& weights_;
  const ModelConfig& config_;
  std::string prefix_;
  LayerTensors t_;
  const int d_ = config_.d_model, ff_ = config_.d_ff;
  const int q_ = config_.n_heads * config_.head_dim, kv_ = config_.n_kv_heads * config_.head_dim;
};

}  // namespace

Result<LayerTensors> layer_tensors(Weights& weights, const ModelConfig& config, int layer) {
  return LayerReader(weights, config, layer).read();
}

Result<OutputTensors> output_tensors(Weights& weights, const ModelConfig& config) {
  OutputTensors t;
  t.tied = !weights.has("output.weight");
  LL_ASSIGN_OR_RETURN(t.embedding, weights.stored("token_embd.weight", {config.d_model, config.n_vocab}));
  LL_ASSIGN_OR_RETURN(t.output,
                      weights.stored(t.tied ? "token_embd.weight" : "output.weight", {config.d_model, config.n_vocab}));
  LL_ASSIGN_OR_RETURN(t.norm, weights.values("output_norm.weight", config.d_model, config.norm_offset));
  return t;
}

Status check_decoder_tensors(const ModelFile& file, const ModelConfig& config) {
  std::vector<kernels::Buffer> none;
  Weights weights(file, none);
  for (int i = 0; i < config.n_layers; ++i) LL_RETURN_IF_ERROR(layer_tensors(weights, config, i).status());
  LL_RETURN_IF_ERROR(output_tensors(weights, config).status());
  return weights.check_all_used();
}

}  // namespace longleaf
