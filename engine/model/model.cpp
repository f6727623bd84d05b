#include "engine/model/model.h"

#include "engine/model/weights.h"

namespace longleaf {

using kernels::DevicePtr;
using kernels::PackedWeight;
using kernels::Weight;

// Fills a model with the tensors of its file.
class WeightLoader {
 public:
  explicit WeightLoader(Model& model) : model_(model), config_(model.config_), weights_(*model.file_, model.memory_) {}

  Status load() {
    LL_ASSIGN_OR_RETURN(model_.embedding_, weights_.stored("token_embd.weight", {config_.d_model, config_.n_vocab}));
    for (const DeviceShare& share : model_.placement_) {
      weights_.use(*share.backend);
      Model::Rotations& rotations = model_.inv_freq_.emplace_back();
      LL_ASSIGN_OR_RETURN(rotations.global, weights_.numbers(config_.rope_inv_freq));
      LL_ASSIGN_OR_RETURN(rotations.local, weights_.numbers(config_.local_rope_inv_freq));
      for (int i = 0; i < share.n_layers; ++i) LL_RETURN_IF_ERROR(load_layer());
    }
    assert(static_cast<int>(model_.layers_.size()) == config_.n_layers);
    LL_RETURN_IF_ERROR(load_output());
    return weights_.check_biases();
  }

 private:
  Status load_output() {
    const bool tied = !weights_.has("output.weight");
    LL_ASSIGN_OR_RETURN(model_.output_, weights_.matrix(tied ? "token_embd.weight" : "output.weight", config_.n_vocab,
                                                        config_.d_model));
    LL_ASSIGN_OR_RETURN(model_.output_norm_, norm("output_norm.weight", config_.d_model));
    return {};
  }

  Status load_layer() {
    prefix_ = "blk." + std::to_string(model_.layers_.size()) + ".";
    LayerWeights& w = model_.layers_.emplace_back();
    LL_RETURN_IF_ERROR(load_norms(w));
    LL_RETURN_IF_ERROR(load_attention(w));
    return config_.n_experts > 0 ? load_experts(w) : load_feed_forward(w);
  }

  Status load_norms(LayerWeights& w) {
    const Architecture& a = *config_.architecture;
    const int d = config_.d_model, q = config_.n_heads * config_.head_dim, kv = config_.n_kv_heads * config_.head_dim;
    if (a.norm_before) {
      LL_ASSIGN_OR_RETURN(w.attn_norm, norm(prefix_ + "attn_norm.weight", d));
      LL_ASSIGN_OR_RETURN(w.ffn_norm, norm(prefix_ + "ffn_norm.weight", d));
    }
    if (a.norm_after) {
      LL_ASSIGN_OR_RETURN(w.attn_post_norm, norm(prefix_ + "post_attention_norm.weight", d));
      LL_ASSIGN_OR_RETURN(w.ffn_post_norm, norm(prefix_ + "post_ffw_norm.weight", d));
    }
    if (a.qk_norm == QkNorm::None) return {};
    const bool whole = a.qk_norm == QkNorm::Whole;
    LL_ASSIGN_OR_RETURN(w.q_norm, norm(prefix_ + "attn_q_norm.weight", whole ? q : config_.head_dim));
    LL_ASSIGN_OR_RETURN(w.k_norm, norm(prefix_ + "attn_k_norm.weight", whole ? kv : config_.head_dim));
    return {};
  }

  Status load_attention(LayerWeights& w) {
    const int d = config_.d_model, q = config_.n_heads * config_.head_dim, kv = config_.n_kv_heads * config_.head_dim;
    if (config_.architecture->fused && weights_.has(prefix_ + "attn_qkv.weight")) {
      LL_ASSIGN_OR_RETURN(const Weight all, weights_.stored(prefix_ + "attn_qkv.weight", {d, q + 2 * kv}));
      LL_ASSIGN_OR_RETURN(w.wq, weights_.packed(Weights::rows(all, 0, q)));
      LL_ASSIGN_OR_RETURN(w.wk, weights_.packed(Weights::rows(all, q, kv)));
      LL_ASSIGN_OR_RETURN(w.wv, weights_.packed(Weights::rows(all, q + kv, kv)));
    } else {
      LL_ASSIGN_OR_RETURN(w.wq, weights_.matrix(prefix_ + "attn_q.weight", q, d));
      LL_ASSIGN_OR_RETURN(w.wk, weights_.matrix(prefix_ + "attn_k.weight", kv, d));
      LL_ASSIGN_OR_RETURN(w.wv, weights_.matrix(prefix_ + "attn_v.weight", kv, d));
    }
    LL_ASSIGN_OR_RETURN(w.wo, weights_.matrix(prefix_ + "attn_output.weight", d, q));
    LL_ASSIGN_OR_RETURN(w.bq, weights_.optional_vector(prefix_ + "attn_q.bias", q));
    LL_ASSIGN_OR_RETURN(w.bk, weights_.optional_vector(prefix_ + "attn_k.bias", kv));
    LL_ASSIGN_OR_RETURN(w.bv, weights_.optional_vector(prefix_ + "attn_v.bias", kv));
    return {};
  }

  Status load_feed_forward(LayerWeights& w) {
    const int d = config_.d_model, ff = config_.d_ff;
    if (config_.architecture->fused && !weights_.has(prefix_ + "ffn_gate.weight")) {
      LL_ASSIGN_OR_RETURN(const Weight both, weights_.stored(prefix_ + "ffn_up.weight", {d, 2 * ff}));
      LL_ASSIGN_OR_RETURN(w.w_gate, weights_.packed(Weights::rows(both, 0, ff)));
      LL_ASSIGN_OR_RETURN(w.w_up, weights_.packed(Weights::rows(both, ff, ff)));
    } else {
      LL_ASSIGN_OR_RETURN(w.w_gate, weights_.matrix(prefix_ + "ffn_gate.weight", ff, d));
      LL_ASSIGN_OR_RETURN(w.w_up, weights_.matrix(prefix_ + "ffn_up.weight", ff, d));
    }
    LL_ASSIGN_OR_RETURN(w.w_down, weights_.matrix(prefix_ + "ffn_down.weight", d, ff));
    return {};
  }

  // The experts of a layer lie in one tensor, or in one each.
  Status load_experts(LayerWeights& w) {
    const int d = config_.d_model, ff = config_.d_ff, n = config_.n_experts;
    LL_ASSIGN_OR_RETURN(w.router, weights_.matrix(prefix_ + "ffn_gate_inp.weight", n, d));
    w.experts.resize(static_cast<size_t>(n));
    struct Part {
      const char* name;
      PackedWeight LayerWeights::Expert::*weight;
      int rows, cols;
    };
    for (const Part& part :
         {Part{"ffn_gate", &LayerWeights::Expert::w_gate, ff, d}, Part{"ffn_up", &LayerWeights::Expert::w_up, ff, d},
          Part{"ffn_down", &LayerWeights::Expert::w_down, d, ff}}) {
      const std::string name = prefix_ + part.name;
      for (int e = 0; e < n; ++e) {
        auto weight = expert(name, e, part.rows, part.cols);
        if (!weight.ok()) return weight.status();
        w.experts[static_cast<size_t>(e)].*part.weight = *weight;
      }
    }
    return {};
  }

  // One expert's rows of the tensor of all experts, or its own tensor.
  Result<PackedWeight> expert(const std::string& name, int e, int n_rows, int cols) {
    if (!weights_.has(name + "_exps.weight"))
      return weights_.matrix(name + "." + std::to_string(e) + ".weight", n_rows, cols);
    LL_ASSIGN_OR_RETURN(const Weight all, weights_.stored(name + "_exps.weight", {cols, n_rows, config_.n_experts}));
    return weights_.packed(Weights::rows(all, e * n_rows, n_rows));
  }

  Result<DevicePtr> norm(const std::string& name, int n) { return weights_.vector(name, n, config_.norm_offset); }

  Model& model_;
  const ModelConfig& config_;
  Weights weights_;
  std::string prefix_;
};

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const ModelFile> file,
                                                 const kernels::Backend& backend) {
  LL_ASSIGN_OR_RETURN(ModelConfig config, read_model_config(*file));
  const Placement placement = {{&backend, config.n_layers}};
  return load(std::move(file), std::move(config), placement);
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const ModelFile> file, const Placement& placement) {
  LL_ASSIGN_OR_RETURN(ModelConfig config, read_model_config(*file));
  return load(std::move(file), std::move(config), placement);
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const ModelFile> file, ModelConfig config,
                                                 const Placement& placement) {
  std::shared_ptr<Model> model(new Model);
  model->config_ = std::move(config);
  model->file_ = std::move(file);
  model->placement_ = placement;
  LL_RETURN_IF_ERROR(WeightLoader(*model).load());
  model->fingerprint_ = fingerprint_of(*model->file_);
  model->file_->release();
  return std::shared_ptr<const Model>(std::move(model));
}

kernels::DevicePtr Model::inv_freq(size_t share, RopeKind kind) const {
  const Rotations& rotations = inv_freq_[share];
  return kind == RopeKind::Global  ? rotations.global.data()
         : kind == RopeKind::Local ? rotations.local.data()
                                   : nullptr;
}

}  // namespace longleaf
