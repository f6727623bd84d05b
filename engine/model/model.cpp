#include "engine/model/model.h"

#include "engine/model/decoder_tensors.h"

namespace longleaf {

using kernels::PackedWeight;
using kernels::Weight;

// Fills a model with the tensors of its file.
class WeightLoader {
 public:
  explicit WeightLoader(Model& model) : model_(model), config_(model.config_), weights_(*model.file_, model.memory_) {}

  Status load() {
    for (const DeviceShare& share : model_.placement_) {
      weights_.use(*share.backend);
      Model::Rotations& rotations = model_.inv_freq_.emplace_back();
      LL_ASSIGN_OR_RETURN(rotations.global, weights_.numbers(config_.rope_inv_freq));
      LL_ASSIGN_OR_RETURN(rotations.local, weights_.numbers(config_.local_rope_inv_freq));
      for (int i = 0; i < share.n_layers; ++i) LL_RETURN_IF_ERROR(load_layer());
    }
    assert(static_cast<int>(model_.layers_.size()) == config_.n_layers);
    return load_output();
  }

 private:
  Status load_output() {
    LL_ASSIGN_OR_RETURN(const OutputTensors t, output_tensors(weights_, config_));
    model_.embedding_ = t.embedding;
    LL_ASSIGN_OR_RETURN(model_.output_, weights_.packed(t.output));
    LL_ASSIGN_OR_RETURN(model_.output_norm_, weights_.kept(t.norm));
    return {};
  }

  Status load_layer() {
    const auto layer = static_cast<int>(model_.layers_.size());
    LL_ASSIGN_OR_RETURN(const LayerTensors t, layer_tensors(weights_, config_, layer));
    LayerWeights& w = model_.layers_.emplace_back();
    LL_RETURN_IF_ERROR(load_vectors(t, w));
    LL_RETURN_IF_ERROR(load_matrices({{&w.wq, t.wq}, {&w.wk, t.wk}, {&w.wv, t.wv}, {&w.wo, t.wo}}));
    if (t.experts.empty()) return load_matrices({{&w.w_gate, t.w_gate}, {&w.w_up, t.w_up}, {&w.w_down, t.w_down}});
    LL_ASSIGN_OR_RETURN(w.router, weights_.packed(t.router));
    for (const LayerTensors::Expert& from : t.experts) {
      LayerWeights::Expert& to = w.experts.emplace_back();
      LL_RETURN_IF_ERROR(load_matrices({{&to.w_gate, from.w_gate}, {&to.w_up, from.w_up}, {&to.w_down, from.w_down}}));
    }
    return {};
  }

  Status load_vectors(const LayerTensors& t, LayerWeights& w) {
    for (const auto& [to, from] :
         {std::pair{&w.attn_norm, &t.attn_norm}, std::pair{&w.ffn_norm, &t.ffn_norm},
          std::pair{&w.attn_post_norm, &t.attn_post_norm}, std::pair{&w.ffn_post_norm, &t.ffn_post_norm},
          std::pair{&w.q_norm, &t.q_norm}, std::pair{&w.k_norm, &t.k_norm}, std::pair{&w.bq, &t.bq},
          std::pair{&w.bk, &t.bk}, std::pair{&w.bv, &t.bv}}) {
      LL_ASSIGN_OR_RETURN(*to, weights_.kept(*from));
    }
    return {};
  }

  Status load_matrices(std::initializer_list<std::pair<PackedWeight*, Weight>> matrices) {
    for (const auto& [to, from] : matrices) {
      LL_ASSIGN_OR_RETURN(*to, weights_.packed(from));
    }
    return {};
  }

  Model& model_;
  const ModelConfig& config_;
  Weights weights_;
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
  Status loaded = check_decoder_tensors(*model->file_, model->config_);
  if (loaded.ok()) loaded = WeightLoader(*model).load();
  if (loaded.ok()) model->fingerprint_ = fingerprint_of(*model->file_);
  LL_RETURN_IF_ERROR(model->file_->check());
  LL_RETURN_IF_ERROR(loaded);
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
