#include "engine/model/model.h"

#include <algorithm>
#include <set>

#include "engine/base/checksum.h"
#include "kernels/blocks.h"

namespace longleaf {

using kernels::Buffer;
using kernels::DevicePtr;
using kernels::PackedWeight;
using kernels::Weight;

namespace {

// The descriptions in full, and a sample of every tensor: reading all the weights would take longer than loading.
uint64_t fingerprint_of(const ModelFile& file) {
  constexpr size_t kSample = 256;
  const auto text = [](std::span<const uint8_t> bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  uint64_t sum = 0;
  for (const auto description : file.descriptions())
    sum = fingerprint(std::to_string(file.bytes()), sum ^ crc32c(description.data(), description.size()));
  for (const auto& [name, tensor] : file.tensors()) {
    const size_t n = std::min(kSample, tensor.data.size());
    sum = fingerprint(text(tensor.data.first(n)), sum);
    sum = fingerprint(text(tensor.data.subspan((tensor.data.size() - n) / 2, n)), sum);
  }
  return sum;
}

}  // namespace

// Finds, checks and packs the tensors of one file.
class WeightLoader {
 public:
  explicit WeightLoader(Model& model)
      : model_(model), config_(model.config_), file_(*model.file_), backend_(*model.backend_) {}

  Status load() {
    LL_ASSIGN_OR_RETURN(model_.embedding_, stored("token_embd.weight", {config_.d_model, config_.n_vocab}));
    const bool tied = !has("output.weight");
    LL_ASSIGN_OR_RETURN(model_.output_,
                        matrix(tied ? "token_embd.weight" : "output.weight", config_.n_vocab, config_.d_model));
    LL_ASSIGN_OR_RETURN(model_.output_norm_, norm("output_norm.weight", config_.d_model));
    for (int i = 0; i < config_.n_layers; ++i) {
      prefix_ = "blk." + std::to_string(i) + ".";
      model_.layers_.emplace_back();
      LL_RETURN_IF_ERROR(load_norms(model_.layers_.back()));
      LL_RETURN_IF_ERROR(load_attention(model_.layers_.back()));
      LL_RETURN_IF_ERROR(config_.n_experts > 0 ? load_experts(model_.layers_.back())
                                               : load_feed_forward(model_.layers_.back()));
    }
    LL_RETURN_IF_ERROR(check_biases());
    LL_ASSIGN_OR_RETURN(model_.inv_freq_, numbers(config_.rope_inv_freq));
    LL_ASSIGN_OR_RETURN(model_.local_inv_freq_, numbers(config_.local_rope_inv_freq));
    return {};
  }

 private:
  bool has(const std::string& name) const { return file_.tensors().count(name) > 0; }

  // A bias that nobody adds would be left out silently.
  Status check_biases() const {
    for (const auto& [name, tensor] : file_.tensors())
      if (name.ends_with(".bias") && used_.count(std::string(name)) == 0)
        return Status(Code::Unsupported, "The model " + file_.name() + " has the weights " + std::string(name) +
                                             ", which this version cannot use");
    return {};
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
    if (config_.architecture->fused && has(prefix_ + "attn_qkv.weight")) {
      LL_ASSIGN_OR_RETURN(const Weight all, stored(prefix_ + "attn_qkv.weight", {d, q + 2 * kv}));
      LL_ASSIGN_OR_RETURN(w.wq, packed(rows(all, 0, q)));
      LL_ASSIGN_OR_RETURN(w.wk, packed(rows(all, q, kv)));
      LL_ASSIGN_OR_RETURN(w.wv, packed(rows(all, q + kv, kv)));
    } else {
      LL_ASSIGN_OR_RETURN(w.wq, matrix(prefix_ + "attn_q.weight", q, d));
      LL_ASSIGN_OR_RETURN(w.wk, matrix(prefix_ + "attn_k.weight", kv, d));
      LL_ASSIGN_OR_RETURN(w.wv, matrix(prefix_ + "attn_v.weight", kv, d));
    }
    LL_ASSIGN_OR_RETURN(w.wo, matrix(prefix_ + "attn_output.weight", d, q));
    LL_ASSIGN_OR_RETURN(w.bq, optional_vector(prefix_ + "attn_q.bias", q));
    LL_ASSIGN_OR_RETURN(w.bk, optional_vector(prefix_ + "attn_k.bias", kv));
    LL_ASSIGN_OR_RETURN(w.bv, optional_vector(prefix_ + "attn_v.bias", kv));
    return {};
  }

  Status load_feed_forward(LayerWeights& w) {
    const int d = config_.d_model, ff = config_.d_ff;
    if (config_.architecture->fused && !has(prefix_ + "ffn_gate.weight")) {
      LL_ASSIGN_OR_RETURN(const Weight both, stored(prefix_ + "ffn_up.weight", {d, 2 * ff}));
      LL_ASSIGN_OR_RETURN(w.w_gate, packed(rows(both, 0, ff)));
      LL_ASSIGN_OR_RETURN(w.w_up, packed(rows(both, ff, ff)));
    } else {
      LL_ASSIGN_OR_RETURN(w.w_gate, matrix(prefix_ + "ffn_gate.weight", ff, d));
      LL_ASSIGN_OR_RETURN(w.w_up, matrix(prefix_ + "ffn_up.weight", ff, d));
    }
    LL_ASSIGN_OR_RETURN(w.w_down, matrix(prefix_ + "ffn_down.weight", d, ff));
    return {};
  }

  // The experts of a layer lie in one tensor, or in one each.
  Status load_experts(LayerWeights& w) {
    const int d = config_.d_model, ff = config_.d_ff, n = config_.n_experts;
    LL_ASSIGN_OR_RETURN(w.router, matrix(prefix_ + "ffn_gate_inp.weight", n, d));
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
    if (!has(name + "_exps.weight")) return matrix(name + "." + std::to_string(e) + ".weight", n_rows, cols);
    LL_ASSIGN_OR_RETURN(const Weight all, stored(name + "_exps.weight", {cols, n_rows, config_.n_experts}));
    return packed(rows(all, e * n_rows, n_rows));
  }

  // A tensor as the file has it; all dimensions but the innermost become rows.
  Result<Weight> stored(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto it = file_.tensors().find(name);
    if (it == file_.tensors().end()) return lacks(file_, "the weights " + name);
    const Tensor& tensor = it->second;
    if (!tensor.type)
      return Status(Code::Unsupported, "The model " + file_.name() + " has weights in the format " +
                                           std::string(tensor.format) + ", which this version cannot read");
    int64_t n_rows = 1;
    for (size_t i = 1; i < shape.size(); ++i) n_rows *= shape[i];
    if (tensor.shape != shape || n_rows > kMaxRows) return lacks(file_, "weights " + name + " of the right shape");
    LL_ASSIGN_OR_RETURN(const DevicePtr data, backend_.adopt(backend_.self, tensor.data.data(), tensor.data.size()));
    return Weight{*tensor.type, static_cast<int>(n_rows), static_cast<int>(shape[0]), data};
  }

  static Weight rows(const Weight& w, int first, int n) {
    return {w.type, n, w.cols, kernels::at(w.data, static_cast<size_t>(first) * kernels::row_bytes(w.type, w.cols))};
  }

  Result<PackedWeight> packed(const Weight& w) {
    LL_ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(backend_, backend_.packed_bytes(backend_.self, w)));
    LL_RETURN_IF_ERROR(backend_.pack(backend_.self, w, buffer.data()));
    file_.release(
        {reinterpret_cast<const uint8_t*>(w.data), static_cast<size_t>(w.rows) * kernels::row_bytes(w.type, w.cols)});
    model_.memory_.push_back(std::move(buffer));
    return PackedWeight{w.type, w.rows, w.cols, model_.memory_.back().data()};
  }

  Result<PackedWeight> matrix(const std::string& name, int n_rows, int cols) {
    LL_ASSIGN_OR_RETURN(const Weight w, stored(name, {cols, n_rows}));
    return packed(w);
  }

  // A vector in f32, `offset` added to every number.
  Result<DevicePtr> vector(const std::string& name, int n, float offset = 0) {
    const auto it = file_.tensors().find(name);
    const Tensor* tensor = it == file_.tensors().end() ? nullptr : &it->second;
    const bool whole = tensor != nullptr && tensor->type && kernels::format_of(*tensor->type).values == 1 &&
                       tensor->data.size() == static_cast<size_t>(n) * kernels::row_bytes(*tensor->type, 1);
    if (!whole) return lacks(file_, "the weights " + name);
    if (tensor->type == kernels::DType::F32 && offset == 0)
      return backend_.adopt(backend_.self, tensor->data.data(), tensor->data.size());
    std::vector<float> values(static_cast<size_t>(n));
    kernels::dequantize_row(*tensor->type, tensor->data.data(), n, values.data());
    for (float& value : values) value += offset;
    LL_ASSIGN_OR_RETURN(Buffer buffer, numbers(values));
    model_.memory_.push_back(std::move(buffer));
    return model_.memory_.back().data();
  }

  Result<DevicePtr> norm(const std::string& name, int n) { return vector(name, n, config_.norm_offset); }

  Result<DevicePtr> optional_vector(const std::string& name, int n) {
    if (!has(name)) return DevicePtr{nullptr};
    used_.insert(name);
    return vector(name, n);
  }

  Result<Buffer> numbers(const std::vector<float>& values) const {
    if (values.empty()) return Buffer();
    LL_ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(backend_, values.size() * 4));
    LL_RETURN_IF_ERROR(backend_.upload(backend_.self, buffer.data(), values.data(), buffer.bytes()));
    return buffer;
  }

  static constexpr int64_t kMaxRows = int64_t{1} << 30;
  Model& model_;
  const ModelConfig& config_;
  const ModelFile& file_;
  const kernels::Backend& backend_;
  std::string prefix_;
  std::set<std::string> used_;  // biases
};

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const ModelFile> file,
                                                 const kernels::Backend& backend) {
  auto config = read_model_config(*file);
  if (!config.ok()) return config.status();
  std::shared_ptr<Model> model(new Model);
  model->config_ = std::move(*config);
  model->file_ = std::move(file);
  model->backend_ = &backend;
  LL_RETURN_IF_ERROR(WeightLoader(*model).load());
  model->fingerprint_ = fingerprint_of(*model->file_);
  return std::shared_ptr<const Model>(std::move(model));
}

kernels::DevicePtr Model::inv_freq(RopeKind kind) const {
  return kind == RopeKind::Global ? inv_freq_.data() : kind == RopeKind::Local ? local_inv_freq_.data() : nullptr;
}

}  // namespace longleaf
