#include "engine/model/model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/base/checksum.h"

namespace longleaf {
namespace {

using kernels::DevicePtr;
using kernels::DType;
using kernels::RopeStyle;
using kernels::Weight;

constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxHeads = 4096;  // times the largest head, still far from overflow

Status missing(const Gguf& file, const std::string& what) {
  return Status(Code::Corrupt, "The model file " + file.name() + " lacks " + what + "; download it again");
}

// Fills `inv_freq` and applies the file's scaling: a factor per frequency (Llama 3.1 files), or one factor (linear).
Status set_rope(const Gguf& file, const std::string& arch, ModelConfig& config) {
  config.rope_dims = static_cast<int>(file.integer_or(arch + ".rope.dimension_count", config.head_dim));
  if (config.rope_dims <= 0 || config.rope_dims > config.head_dim || config.rope_dims % 2 != 0)
    return missing(file, "a usable rope dimension");
  const double base = file.number_or(arch + ".rope.freq_base", 10000.0);
  const auto scaling = file.text_or(arch + ".rope.scaling.type", "none");
  double factor = file.number_or(arch + ".rope.scaling.factor", 1.0);
  if (scaling == "none") factor = file.number_or(arch + ".rope.scale_linear", 1.0);
  if (scaling != "none" && scaling != "linear" && scaling != "")
    return Status(Code::Unsupported, "The model " + file.name() + " scales positions by the method " +
                                         std::string(scaling) + ", which this version cannot compute");
  if (!(base > 0) || !(factor > 0)) return missing(file, "usable rope settings");

  const auto pairs = static_cast<size_t>(config.rope_dims / 2);
  std::vector<float> factors(pairs, 1.0f);
  if (const auto it = file.tensors().find("rope_freqs.weight"); it != file.tensors().end()) {
    if (it->second.type_id != 0 || it->second.bytes != pairs * 4) return missing(file, "a usable rope_freqs.weight");
    std::memcpy(factors.data(), file.data(it->second).data(), pairs * 4);
  }
  for (size_t i = 0; i < pairs; ++i) {
    const double inverse = std::pow(base, -2.0 * static_cast<double>(i) / config.rope_dims);
    if (!(factors[i] > 0)) return missing(file, "usable rope factors");
    config.rope_inv_freq.push_back(static_cast<float>(inverse / double{factors[i]} / factor));
  }
  return {};
}

int vocabulary_of(const Gguf& file) {
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  return tokens == nullptr ? 0 : static_cast<int>(tokens->size());
}

void count_weights(const Gguf& file, ModelConfig& config) {
  std::map<std::string, uint64_t> by_format;
  for (const auto& [name, tensor] : file.tensors()) {
    config.weight_bytes += tensor.bytes;
    if (const auto type = dtype_of(tensor.type_id); type.ok()) by_format[kernels::name_of(*type)] += tensor.bytes;
  }
  uint64_t most = 0;
  for (const auto& [format, bytes] : by_format)
    if (bytes > most) most = bytes, config.weight_format = format;
}

}  // namespace

Result<ModelConfig> Model::describe(const Gguf& file) {
  ModelConfig c;
  c.architecture = file.text_or("general.architecture", "");
  if (c.architecture.empty()) return missing(file, "the name of its architecture");
  if (c.architecture != "llama" && c.architecture != "qwen2")
    return Status(Code::Unsupported, "The model " + file.name() + " has the architecture " + c.architecture +
                                         "; this version runs llama and qwen2 models");
  c.title = file.text_or("general.name", file.name());
  const std::string& arch = c.architecture;
  const auto read = [&](const std::string& key, int64_t otherwise, int64_t most) {
    const int64_t value = file.integer_or(arch + "." + key, otherwise);
    return value > 0 && value <= most ? static_cast<int>(value) : 0;
  };
  c.n_layers = read("block_count", 0, kMaxLayers);
  c.d_model = read("embedding_length", 0, kMaxWidth);
  c.n_heads = read("attention.head_count", 0, kMaxHeads);
  c.n_kv_heads = read("attention.head_count_kv", c.n_heads, kMaxHeads);
  c.d_ff = read("feed_forward_length", 0, 1 << 24);
  c.context_tokens = read("context_length", 2048, int64_t{1} << 30);
  c.n_vocab = vocabulary_of(file);
  c.rms_eps = static_cast<float>(file.number_or(arch + ".attention.layer_norm_rms_epsilon", 1e-5));
  if (c.n_layers == 0 || c.d_model == 0 || c.n_heads == 0 || c.n_kv_heads == 0 || c.d_ff == 0 || c.context_tokens == 0)
    return missing(file, "its dimensions");
  if (c.n_vocab == 0) return missing(file, "its vocabulary");
  if (c.n_heads % c.n_kv_heads != 0) return missing(file, "heads that can be grouped");
  c.head_dim = read("attention.key_length", c.d_model / c.n_heads, kMaxWidth);
  if (c.head_dim == 0 || c.head_dim > 4096) return missing(file, "a usable head size");
  if (file.integer_or(arch + ".expert_count", 0) > 0)
    return Status(Code::Unsupported,
                  "The model " + file.name() + " is a mixture of experts, which this version cannot run");
  c.rope_style = arch == "qwen2" ? RopeStyle::Halves : RopeStyle::Adjacent;
  LL_RETURN_IF_ERROR(set_rope(file, arch, c));
  count_weights(file, c);
  return c;
}

Result<std::shared_ptr<const Model>> Model::load(std::shared_ptr<const Gguf> file, const kernels::Backend& backend) {
  auto config = describe(*file);
  if (!config.ok()) return config.status();
  std::shared_ptr<Model> model(new Model);
  model->config_ = std::move(*config);
  model->file_ = std::move(file);
  model->backend_ = &backend;
  LL_RETURN_IF_ERROR(model->load_weights());
  return std::shared_ptr<const Model>(std::move(model));
}

Result<Weight> Model::weight(const std::string& name, int rows, int cols) const {
  const auto it = file_->tensors().find(name);
  if (it == file_->tensors().end()) return missing(*file_, "the weights " + name);
  const GgufTensor& tensor = it->second;
  auto type = dtype_of(tensor.type_id);
  if (!type.ok()) return Status(Code::Unsupported, "The model " + file_->name() + " has " + type.status().message());
  if (tensor.shape.size() != 2 || tensor.shape[0] != cols || tensor.shape[1] != rows)
    return missing(*file_, "weights " + name + " of the right shape");
  const auto data = backend_->adopt(backend_->self, file_->data(tensor).data(), tensor.bytes);
  if (!data.ok()) return data.status();
  return Weight{*type, rows, cols, *data};
}

Result<DevicePtr> Model::vector(const std::string& name, int n, bool optional) const {
  const auto it = file_->tensors().find(name);
  if (it == file_->tensors().end() && optional) return DevicePtr{nullptr};
  if (it == file_->tensors().end() || it->second.type_id != 0 || it->second.bytes != static_cast<uint64_t>(n) * 4)
    return missing(*file_, "the weights " + name + " in F32");
  return backend_->adopt(backend_->self, file_->data(it->second).data(), it->second.bytes);
}

Status Model::load_weights() {
  const ModelConfig& c = config_;
  const int q = c.n_heads * c.head_dim, kv = c.n_kv_heads * c.head_dim;
  LL_ASSIGN_OR_RETURN(embedding_, weight("token_embd.weight", c.n_vocab, c.d_model));
  const bool tied = file_->tensors().count("output.weight") == 0;
  LL_ASSIGN_OR_RETURN(output_, weight(tied ? "token_embd.weight" : "output.weight", c.n_vocab, c.d_model));
  LL_ASSIGN_OR_RETURN(output_norm_, vector("output_norm.weight", c.d_model, false));
  for (int i = 0; i < c.n_layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    LayerWeights w;
    LL_ASSIGN_OR_RETURN(w.attn_norm, vector(block + "attn_norm.weight", c.d_model, false));
    LL_ASSIGN_OR_RETURN(w.ffn_norm, vector(block + "ffn_norm.weight", c.d_model, false));
    LL_ASSIGN_OR_RETURN(w.wq, weight(block + "attn_q.weight", q, c.d_model));
    LL_ASSIGN_OR_RETURN(w.wk, weight(block + "attn_k.weight", kv, c.d_model));
    LL_ASSIGN_OR_RETURN(w.wv, weight(block + "attn_v.weight", kv, c.d_model));
    LL_ASSIGN_OR_RETURN(w.wo, weight(block + "attn_output.weight", c.d_model, q));
    LL_ASSIGN_OR_RETURN(w.w_gate, weight(block + "ffn_gate.weight", c.d_ff, c.d_model));
    LL_ASSIGN_OR_RETURN(w.w_up, weight(block + "ffn_up.weight", c.d_ff, c.d_model));
    LL_ASSIGN_OR_RETURN(w.w_down, weight(block + "ffn_down.weight", c.d_model, c.d_ff));
    LL_ASSIGN_OR_RETURN(w.bq, vector(block + "attn_q.bias", q, true));
    LL_ASSIGN_OR_RETURN(w.bk, vector(block + "attn_k.bias", kv, true));
    LL_ASSIGN_OR_RETURN(w.bv, vector(block + "attn_v.bias", kv, true));
    layers_.push_back(w);
  }
  LL_ASSIGN_OR_RETURN(inv_freq_, kernels::Buffer::allocate(*backend_, c.rope_inv_freq.size() * 4));
  LL_RETURN_IF_ERROR(backend_->upload(backend_->self, inv_freq_.data(), c.rope_inv_freq.data(), inv_freq_.bytes()));

  // The description in full, and a sample of every tensor: reading all the weights would take longer than loading.
  const auto bytes = file_->bytes();
  const auto text = [&](uint64_t offset, uint64_t n) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data() + offset), n);
  };
  uint64_t data_begin = bytes.size();
  for (const auto& [name, tensor] : file_->tensors()) data_begin = std::min(data_begin, tensor.offset);
  fingerprint_ = longleaf::fingerprint(std::to_string(bytes.size()), crc32c(bytes.data(), data_begin));
  constexpr uint64_t kSample = 256;
  for (const auto& [name, tensor] : file_->tensors()) {
    const uint64_t n = std::min(kSample, tensor.bytes);
    fingerprint_ = longleaf::fingerprint(text(tensor.offset, n), fingerprint_);
    fingerprint_ = longleaf::fingerprint(text(tensor.offset + (tensor.bytes - n) / 2, n), fingerprint_);
  }
  return {};
}

}  // namespace longleaf
