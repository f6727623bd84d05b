#include "engine/model/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>

#include "kernels/panels.h"

namespace longleaf {
namespace {

constexpr int64_t kMaxLayers = 1000;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxHeads = 4096;  // times the largest head, still far from overflow
constexpr int64_t kMaxHeadDim = 4096;
constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxVocabulary = 1 << 26;

// The keys of one file under its architecture's name.
class Keys {
 public:
  explicit Keys(const ModelFile& file)
      : file_(file), prefix_(std::string(file.text_or("general.architecture", "")) + ".") {}
  // 0 when the number is missing, not positive, or above `most`.
  int count(const char* key, int64_t otherwise, int64_t most) const {
    const int64_t value = file_.integer_or(prefix_ + key, otherwise);
    return value > 0 && value <= most ? static_cast<int>(value) : 0;
  }
  double number(const char* key, double otherwise) const { return file_.number_or(prefix_ + key, otherwise); }
  std::string_view text(const char* key) const { return file_.text_or(prefix_ + key, ""); }
  std::string_view architecture() const { return std::string_view(prefix_).substr(0, prefix_.size() - 1); }

 private:
  const ModelFile& file_;
  std::string prefix_;
};

Status cannot_run(const ModelFile& file, const std::string& what) {
  return Status(Code::Unsupported, "The model " + file.name() + " " + what + ", which this version cannot run");
}

Status read_shape(const ModelFile& file, const Keys& keys, ModelConfig& c) {
  c.n_layers = keys.count("block_count", 0, kMaxLayers);
  c.d_model = keys.count("embedding_length", 0, kMaxWidth);
  c.n_heads = keys.count("attention.head_count", 0, kMaxHeads);
  c.n_kv_heads = keys.count("attention.head_count_kv", c.n_heads, kMaxHeads);
  c.context_tokens = keys.count("context_length", 2048, int64_t{1} << 30);
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  c.n_vocab = tokens == nullptr ? keys.count("vocab_size", 0, kMaxVocabulary) : static_cast<int>(tokens->size());
  if (c.architecture->experts) {
    c.n_experts = keys.count("expert_count", 0, kMaxExperts);
    c.n_experts_used = keys.count("expert_used_count", 0, c.n_experts);
    if (c.n_experts_used == 0) return lacks(file, "the number of its experts");
  } else if (file.integer_or(std::string(keys.architecture()) + ".expert_count", 0) > 0) {
    return cannot_run(file, "is a mixture of experts of the family " + std::string(keys.architecture()));
  }
  c.d_ff = keys.count(c.n_experts > 0 ? "expert_feed_forward_length" : "feed_forward_length", 0, kMaxWidth);
  if (file.integers(std::string(keys.architecture()) + ".attention.head_count") != nullptr ||
      file.integers(std::string(keys.architecture()) + ".feed_forward_length") != nullptr)
    return cannot_run(file, "has layers that differ in size");
  if (c.n_layers == 0 || c.d_model == 0 || c.n_heads == 0 || c.n_kv_heads == 0 || c.d_ff == 0 || c.context_tokens == 0)
    return lacks(file, "its dimensions");
  if (c.n_vocab == 0) return lacks(file, "its vocabulary");
  if (c.n_heads % c.n_kv_heads != 0) return lacks(file, "heads that can be grouped");
  c.head_dim = keys.count("attention.key_length", c.d_model / c.n_heads, kMaxHeadDim);
  if (c.head_dim == 0) return lacks(file, "a usable head size");
  if (keys.count("attention.value_length", c.head_dim, kMaxHeadDim) != c.head_dim)
    return cannot_run(file, "has keys and values of different lengths");
  if (int64_t{c.n_heads} * c.head_dim > kMaxWidth) return lacks(file, "a usable number of heads");
  return {};
}

// What the file's tensor of factors, one per pair, divides frequencies by.
Result<std::vector<float>> read_factors(const ModelFile& file, const char* name, size_t pairs) {
  const auto it = file.tensors().find(name);
  if (it == file.tensors().end()) return std::vector<float>(pairs, 1.0f);
  if (it->second.type != kernels::DType::F32 || it->second.data.size() != pairs * 4)
    return lacks(file, std::string("a usable ") + name);
  std::vector<float> factors(pairs);
  std::memcpy(factors.data(), it->second.data.data(), pairs * 4);
  for (float factor : factors)
    if (!(factor > 0)) return lacks(file, "usable rope factors");
  return factors;
}

std::vector<float> frequencies(double base, double factor, const std::vector<float>& factors) {
  std::vector<float> inv_freq;
  const auto pairs = static_cast<double>(factors.size());
  for (size_t i = 0; i < factors.size(); ++i)
    inv_freq.push_back(
        static_cast<float>(std::pow(base, -static_cast<double>(i) / pairs) / double{factors[i]} / factor));
  return inv_freq;
}

// YaRN (Peng et al., arXiv 2309.00071, section 3.2): frequencies that turn often within the first training length stay,
// those that turn less than once are divided by the factor, those between go from one to the other; and scores are
// sharpened.
Status read_yarn(const ModelFile& file, const Keys& keys, double base, double factor, std::vector<float>& inv_freq,
                 float& magnitude) {
  const double length = keys.number("rope.scaling.original_context_length", keys.number("context_length", 0));
  const double fast = keys.number("rope.scaling.yarn_beta_fast", 32.0);
  const double slow = keys.number("rope.scaling.yarn_beta_slow", 1.0);
  if (!(length > 0) || !(factor >= 1) || !(fast > slow) || !(slow > 0) || !(base > 1))
    return lacks(file, "usable rope settings");
  const auto pairs = static_cast<double>(inv_freq.size());
  const auto pair_turning = [&](double turns) {
    return pairs * std::log(length / (turns * 2 * std::numbers::pi)) / std::log(base);
  };
  const double first = std::max(std::floor(pair_turning(fast)), 0.0);
  const double last = std::min(std::ceil(pair_turning(slow)), 2 * pairs - 1);
  for (size_t i = 0; i < inv_freq.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - first) / std::max(last - first, 0.001), 0.0, 1.0);
    inv_freq[i] = static_cast<float>(double{inv_freq[i]} * (slowed / factor + 1 - slowed));
  }
  magnitude = static_cast<float>(keys.number("rope.scaling.attn_factor", 1.0) * (0.1 * std::log(factor) + 1));
  return {};
}

// Frequencies with the file's scaling: one factor (linear), YaRN, or a factor per frequency (Llama 3.1, LongRoPE). A
// model that was stretched beyond its first training length is run with its factors for long texts.
Status read_rope(const ModelFile& file, const Keys& keys, ModelConfig& c) {
  c.rope_dims = keys.count("rope.dimension_count", c.head_dim, c.head_dim);
  if (c.rope_dims == 0 || c.rope_dims % 2 != 0) return lacks(file, "a usable rope dimension");
  const double base = keys.number("rope.freq_base", 10000.0);
  const double local = keys.number("rope.freq_base_swa", c.architecture->local_rope_base);
  const std::string_view scaling = keys.text("rope.scaling.type");
  const bool is_yarn = scaling == "yarn";
  if (scaling != "" && scaling != "none" && scaling != "linear" && scaling != "longrope" && !is_yarn)
    return cannot_run(file, "scales positions by the method " + std::string(scaling));
  const double factor = keys.number(scaling == "linear" || is_yarn ? "rope.scaling.factor" : "rope.scale_linear", 1.0);
  if (!(base > 0) || !(factor > 0) || local < 0) return lacks(file, "usable rope settings");

  const auto pairs = static_cast<size_t>(c.rope_dims / 2);
  const int first_length = keys.count("rope.scaling.original_context_length", c.context_tokens, int64_t{1} << 30);
  const bool has_long = file.tensors().count("rope_factors_long.weight") > 0;
  const char* name = !has_long                         ? "rope_freqs.weight"
                     : c.context_tokens > first_length ? "rope_factors_long.weight"
                                                       : "rope_factors_short.weight";
  LL_ASSIGN_OR_RETURN(const auto factors, read_factors(file, name, pairs));
  c.rope_inv_freq = frequencies(base, is_yarn ? 1.0 : factor, factors);
  if (is_yarn) LL_RETURN_IF_ERROR(read_yarn(file, keys, base, factor, c.rope_inv_freq, c.rope_magnitude));
  if (local > 0) c.local_rope_inv_freq = frequencies(local, 1.0, std::vector<float>(pairs, 1.0f));
  if (has_long) c.rope_magnitude = static_cast<float>(keys.number("rope.scaling.attn_factor", 1.0));
  if (scaling == "longrope" && !has_long) return lacks(file, "its factors for positions");
  if (!(c.rope_magnitude > 0) || !std::isfinite(c.rope_magnitude)) return lacks(file, "usable rope settings");
  return {};
}

void read_layers(const Keys& keys, ModelConfig& c) {
  const Architecture& a = *c.architecture;
  const int window = keys.count("attention.sliding_window", a.window, int64_t{1} << 30);
  const int period = keys.count("attention.sliding_window_pattern", a.window_period, kMaxLayers);
  for (int i = 0; i < c.n_layers; ++i) {
    LayerConfig layer;
    if (window > 0 && (period <= 1 || (i + 1) % period != 0)) layer.window = window;
    if (layer.window > 0 && !c.local_rope_inv_freq.empty()) layer.rope = RopeKind::Local;
    if (a.rope_free_period > 0 && (i + 1) % a.rope_free_period == 0) layer.rope = RopeKind::None;
    c.layers.push_back(layer);
  }
}

Status read_scales(const ModelFile& file, const Keys& keys, ModelConfig& c) {
  const Architecture& a = *c.architecture;
  const auto read = [&](const char* key, double otherwise) { return static_cast<float>(keys.number(key, otherwise)); };
  const bool by_width = a.width_scale_layers > 0 && c.n_layers >= a.width_scale_layers;
  c.norm_eps = read("attention.layer_norm_rms_epsilon", 1e-5);
  c.embedding_scale = read("embedding_scale", a.scales_embedding ? std::sqrt(c.d_model) : 1.0);
  c.attention_scale = read("attention.scale", 1.0 / std::sqrt(by_width ? c.d_model / c.n_heads : c.head_dim));
  c.residual_scale = read("residual_scale", 1.0);
  const float divisor = read("logit_scale", 1.0);
  c.logit_scale = 1.0f / divisor;
  c.attention_soft_cap = read("attn_logit_softcapping", a.attention_soft_cap);
  c.logit_soft_cap = read("final_logit_softcapping", a.logit_soft_cap);
  for (float scale : {c.norm_eps, c.embedding_scale, c.attention_scale, c.residual_scale, divisor})
    if (!(scale > 1e-30f) || !std::isfinite(scale)) return lacks(file, "usable scales");
  for (float cap : {c.attention_soft_cap, c.logit_soft_cap})
    if (!(cap >= 0) || !std::isfinite(cap)) return lacks(file, "usable scales");
  return {};
}

// Memory that a tensor takes once it is packed: matrices only, and not a table that is only looked up.
uint64_t packed_bytes(const Tensor& tensor, kernels::DType type) {
  if (tensor.shape.size() < 2) return 0;
  int64_t rows = 1;
  for (size_t i = 1; i < tensor.shape.size(); ++i) rows *= tensor.shape[i];
  if (tensor.shape[0] > kMaxWidth || rows > (int64_t{1} << 30)) return 0;  // refused when it is loaded
  return kernels::panel_bytes({type, static_cast<int>(rows), static_cast<int>(tensor.shape[0]), nullptr});
}

// Of a tensor "blk.N.…"; -1 for others.
int layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  int layer = -1;
  if (name.starts_with(kPrefix)) std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

void count_weights(const ModelFile& file, ModelConfig& config) {
  config.layer_bytes.assign(static_cast<size_t>(config.n_layers), 0);
  std::map<std::string, uint64_t> by_format;
  const bool tied = file.tensors().count("output.weight") == 0;
  for (const auto& [name, tensor] : file.tensors()) {
    config.weight_bytes += tensor.data.size();
    if (!tensor.type) continue;
    by_format[kernels::name_of(*tensor.type)] += tensor.data.size();
    if (name == "token_embd.weight") config.table_bytes = tensor.data.size();
    if (!tied && name == "token_embd.weight") continue;
    const int layer = layer_of(name);
    (layer >= 0 && layer < config.n_layers ? config.layer_bytes[static_cast<size_t>(layer)] : config.output_bytes) +=
        packed_bytes(tensor, *tensor.type);
  }
  uint64_t most = 0;
  for (const auto& [format, bytes] : by_format)
    if (bytes > most) most = bytes, config.weight_format = format;
}

}  // namespace

Status lacks(const ModelFile& file, const std::string& what) {
  return Status(Code::Corrupt, "The model file " + file.name() + " lacks " + what + "; download it again");
}

Result<ModelConfig> read_model_config(const ModelFile& file) {
  const Keys keys(file);
  ModelConfig c;
  if (keys.architecture().empty()) return lacks(file, "the name of its architecture");
  if (keys.architecture() == "bert")
    return Status(Code::Unsupported, "The model " + file.name() +
                                         " makes vectors of texts and cannot write answers; give it with --embedder, "
                                         "and a language model with --model");
  if (keys.architecture() == "clip")
    return Status(Code::Unsupported, "The file " + file.name() +
                                         " is the part of a model that sees pictures (mmproj); choose the file of the "
                                         "model itself");
  c.architecture = find_architecture(keys.architecture());
  if (c.architecture == nullptr)
    return Status(Code::Unsupported, "The model " + file.name() + " has the architecture " +
                                         std::string(keys.architecture()) + "; this version runs " +
                                         architecture_names());
  c.title = file.text_or("general.name", file.name());
  const bool published = file.style() == WeightStyle::Transformers;
  c.rope_style = published ? kernels::RopeStyle::Halves : c.architecture->rope;
  c.norm_offset = published && c.architecture->adds_one_to_norms ? 1.0f : 0.0f;
  LL_RETURN_IF_ERROR(read_shape(file, keys, c));
  LL_RETURN_IF_ERROR(read_rope(file, keys, c));
  LL_RETURN_IF_ERROR(read_scales(file, keys, c));
  read_layers(keys, c);
  count_weights(file, c);
  return c;
}

}  // namespace longleaf
