#include "engine/model/published.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "engine/model/architecture.h"
#include "engine/model/published_names.h"

namespace longleaf {
namespace {

struct Family {
  std::string_view model_type, architecture, activation;
  bool window_by_default = true;  // a sliding window in the settings is used unless use_sliding_window says otherwise
  // What the transformers library takes where config.json leaves it out, and what ours would take differs.
  const char* defaults = R"({"rms_norm_eps": 1e-6})";
};

constexpr const char* kGemma2Defaults =
    R"({"rms_norm_eps": 1e-6, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096,
        "max_position_embeddings": 8192, "query_pre_attn_scalar": 256, "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "vocab_size": 256000})";
constexpr const char* kGemma3Defaults =
    R"({"rms_norm_eps": 1e-6, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096,
        "max_position_embeddings": 131072, "query_pre_attn_scalar": 256, "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0, "vocab_size": 262208})";
constexpr std::array kFamilies = {
    Family{"llama", "llama", "silu"},
    Family{"mistral", "llama", "silu", true,
           R"({"rms_norm_eps": 1e-6, "num_key_value_heads": 8, "sliding_window": 4096})"},
    Family{"qwen2", "qwen2", "silu", false},
    Family{"qwen3", "qwen3", "silu", false, R"({"rms_norm_eps": 1e-6, "head_dim": 128})"},
    Family{"qwen3_moe", "qwen3moe", "silu", false},
    Family{"gemma2", "gemma2", "gelu_pytorch_tanh", true, kGemma2Defaults},
    Family{"gemma3", "gemma3", "gelu_pytorch_tanh", true, kGemma3Defaults},
    Family{"gemma3_text", "gemma3", "gelu_pytorch_tanh", true, kGemma3Defaults},
    Family{"phi3", "phi3", "silu", true, R"({"rms_norm_eps": 1e-5})"},
    Family{"smollm3", "smollm3", "silu", false,
           R"({"rms_norm_eps": 1e-6, "rope_theta": 2000000.0, "tie_word_embeddings": true})"},
    Family{"granite", "granite", "silu", true, R"({"rms_norm_eps": 1e-6, "attention_multiplier": 1.0})"},
    Family{"olmo2", "olmo2", "silu", true, R"({"rms_norm_eps": 1e-5})"},
    Family{"bert", "bert", "gelu"},
    Family{"roberta", "bert", "gelu"},
    Family{"xlm-roberta", "bert", "gelu"},
};

class Translator {
 public:
  Translator(const Published& published, ModelContents& contents) : published_(published), contents_(contents) {
    const Json& text = member(published.config, "text_config");  // of models that also see pictures
    config_ = text.is_object() ? text : published.config;
  }

  Status run() {
    const std::string type = text_of(member(config_, "model_type"));
    for (const Family& family : kFamilies)
      if (family.model_type == type) family_ = &family;
    if (family_ == nullptr) return unsupported("has the architecture " + (type.empty() ? "without a name" : type));
    Json settings = parse_json(family_->defaults);
    settings.update(config_);
    config_ = std::move(settings);
    if (member(published_.config, "quantization_config").is_object())
      return unsupported(
          "is quantised by the method " +
          text_of(member(member(published_.config, "quantization_config"), "quant_method"), "without a name"));
    const std::string activation =
        text_of(setting("hidden_activation"), text_of(setting("hidden_act"), family_->activation));
    if (activation != family_->activation) return unsupported("has the activation " + activation);
    set("general.architecture", family_->architecture);
    contents_.style = WeightStyle::Transformers;
    add_shape();
    if (family_->architecture == "bert") return translate_encoder();
    add_scales();
    LL_RETURN_IF_ERROR(add_experts());
    LL_RETURN_IF_ERROR(add_windows());
    LL_RETURN_IF_ERROR(add_rope());
    add_words();
    return rename_tensors();
  }

 private:
  const Json& setting(const char* key) const { return member(config_, key); }

  Status unsupported(const std::string& what) const {
    return Status(Code::Unsupported, "The model " + contents_.name + " " + what + ", which this version cannot run");
  }
  Status corrupt(const std::string& what) const { return damaged_file(contents_.name, "config.json: " + what); }

  void set(std::string_view key, MetadataScalar value) {
    if (auto* text = std::get_if<std::string_view>(&value)) *text = contents_.keep(std::string(*text));
    contents_.metadata[contents_.keep(std::string(key))] = value;
  }
  std::string key(const char* name) const { return std::string(family_->architecture) + "." + name; }

  void copy_integer(const char* from, const char* to) {
    if (const auto value = integer_of(setting(from))) set(key(to), *value);
  }
  void copy_number(const char* from, const char* to) {
    if (const auto value = number_of(setting(from))) set(key(to), *value);
  }

  void add_shape() {
    copy_integer("num_hidden_layers", "block_count");
    copy_integer("hidden_size", "embedding_length");
    copy_integer("num_attention_heads", "attention.head_count");
    copy_integer("num_key_value_heads", "attention.head_count_kv");
    copy_integer("intermediate_size", "feed_forward_length");
    copy_integer("head_dim", "attention.key_length");
    copy_integer("head_dim", "attention.value_length");
    copy_integer("max_position_embeddings", "context_length");
    copy_integer("vocab_size", "vocab_size");
  }

  // Models that make vectors of texts.
  Status translate_encoder() {
    if (text_of(setting("position_embedding_type"), "absolute") != "absolute")
      return unsupported("has positions of the kind " + text_of(setting("position_embedding_type")));
    for (const Json& module : published_.modules.is_array() ? published_.modules : Json::array()) {
      const std::string type = text_of(member(module, "type"));
      if (!type.ends_with("Transformer") && !type.ends_with("Pooling") && !type.ends_with("Normalize"))
        return unsupported("has the part " + type);
    }
    copy_number("layer_norm_eps", "attention.layer_norm_epsilon");
    if (family_->model_type != "bert")  // places before the one behind the padding token's are not used
      set(key("first_position"), std::clamp<int64_t>(integer_of(setting("pad_token_id")).value_or(1), 0, 1 << 20) + 1);
    const std::string mode = text_of(member(published_.pooling, "pooling_mode"), "mean");
    if (mode != "mean" && mode != "cls") return unsupported("pools its rows by the method " + mode);
    for (const char* other : {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                              "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"})
      if (flag_of(member(published_.pooling, other))) return unsupported(std::string("has the setting ") + other);
    const bool first = flag_of(member(published_.pooling, "pooling_mode_cls_token")) || mode == "cls";
    constexpr int64_t kMean = 1, kFirst = 2;
    set(key("pooling_type"), first ? kFirst : kMean);
    rename_all();
    return {};
  }

  void add_scales() {
    copy_number("rms_norm_eps", "attention.layer_norm_rms_epsilon");
    copy_number("embedding_multiplier", "embedding_scale");
    copy_number("attention_multiplier", "attention.scale");
    copy_number("residual_multiplier", "residual_scale");
    copy_number("logits_scaling", "logit_scale");
    for (const char* cap : {"attn_logit_softcapping", "final_logit_softcapping"})
      set(key(cap), number_of(setting(cap)).value_or(0));  // none where the settings have none
    if (const auto scalar = number_of(setting("query_pre_attn_scalar")); scalar && *scalar > 0)
      set(key("attention.scale"), 1.0 / std::sqrt(*scalar));
  }

  Status add_experts() {
    copy_integer("num_experts", "expert_count");
    copy_integer("num_local_experts", "expert_count");
    copy_integer("num_experts_per_tok", "expert_used_count");
    copy_integer("moe_intermediate_size", "expert_feed_forward_length");
    if (family_->architecture != "qwen3moe") return {};
    const Json& dense = setting("mlp_only_layers");
    if (integer_of(setting("decoder_sparse_step")).value_or(1) != 1 || (dense.is_array() && !dense.empty()))
      return unsupported("has layers with and without experts");
    if (!flag_of(setting("norm_topk_prob"))) return unsupported("weighs its experts without making the sum one");
    return {};
  }

  Status add_windows() {
    set(key("attention.sliding_window"), int64_t{0});
    const auto window = integer_of(setting("sliding_window"));
    if (!window || !flag_of(setting("use_sliding_window"), family_->window_by_default)) return {};
    const Json& types = setting("layer_types");
    if (!types.is_array()) {
      if (!family_->window_by_default && integer_of(setting("max_window_layers")).value_or(0) > 0)
        return unsupported("has a sliding window in its last layers only");
      copy_integer("sliding_window_pattern", "attention.sliding_window_pattern");
      set(key("attention.sliding_window"), *window);
      return {};
    }
    // Every `period`-th layer sees everything.
    size_t period = 1;
    while (period <= types.size() && text_of(types[period - 1]) == "sliding_attention") ++period;
    const bool all_slide = period > types.size();
    bool any_slides = false;
    for (size_t i = 0; i < types.size(); ++i) any_slides = any_slides || text_of(types[i]) == "sliding_attention";
    if (!any_slides) return {};
    for (size_t i = 0; i < types.size(); ++i)
      if ((text_of(types[i]) == "sliding_attention") == (!all_slide && (i + 1) % period == 0))
        return unsupported("has windows in layers without a period");
    set(key("attention.sliding_window"), *window);
    set(key("attention.sliding_window_pattern"), static_cast<int64_t>(all_slide ? 1 : period));
    return {};
  }

  // Settings of positions: rope_parameters, or before it rope_theta and rope_scaling.
  Status add_rope() {
    const Json& parameters = setting("rope_parameters");
    const Json& global = member(parameters, "full_attention").is_object() ? member(parameters, "full_attention")
                         : parameters.is_object()                         ? parameters
                                                                          : setting("rope_scaling");
    copy_number("rope_theta", "rope.freq_base");
    copy_number("rope_local_base_freq", "rope.freq_base_swa");
    if (const auto base = number_of(member(global, "rope_theta"))) set(key("rope.freq_base"), *base);
    if (const auto base = number_of(member(member(parameters, "sliding_attention"), "rope_theta")))
      set(key("rope.freq_base_swa"), *base);
    const auto part = number_of(member(global, "partial_rotary_factor"));
    const double share = part ? *part : number_of(setting("partial_rotary_factor")).value_or(1.0);
    const auto heads = integer_of(setting("num_attention_heads")), width = integer_of(setting("hidden_size"));
    if (!heads || !width || *heads <= 0 || !(share > 0 && share <= 1)) return corrupt("the size of its heads");
    head_dim_ = integer_of(setting("head_dim")).value_or(*width / *heads);
    if (head_dim_ <= 0 || head_dim_ > (1 << 20)) return corrupt("the size of its heads");
    set(key("rope.dimension_count"), static_cast<int64_t>(static_cast<double>(head_dim_) * share));
    LL_RETURN_IF_ERROR(add_rope_scaling(global));
    return check_unrotated_layers();
  }

  Status add_rope_scaling(const Json& rope) {
    const std::string type = text_of(member(rope, "rope_type"), text_of(member(rope, "type"), "default"));
    const auto factor = number_of(member(rope, "factor"));
    if (type == "default") return {};
    if (type == "linear") {
      set(key("rope.scaling.type"), "linear");
      set(key("rope.scaling.factor"), factor.value_or(0));
      return {};
    }
    if (type == "llama3") return add_llama3_factors(rope);
    if (type == "yarn") return add_yarn(rope, factor.value_or(0));
    if (type == "longrope" || type == "su") return add_long_rope(rope, factor);
    set(key("rope.scaling.type"), type);  // refused by its name where settings are read
    return {};
  }

  double base_of(const Json& rope) const {
    return number_of(member(rope, "rope_theta")).value_or(number_of(setting("rope_theta")).value_or(10000.0));
  }

  // Slow frequencies are divided by the factor, fast ones stay, those between go smoothly from one to the other
  // (the Llama 3 Herd of Models, arXiv 2407.21783, and the released code).
  Status add_llama3_factors(const Json& rope) {
    const double factor = number_of(member(rope, "factor")).value_or(0);
    const double low = number_of(member(rope, "low_freq_factor")).value_or(0);
    const double high = number_of(member(rope, "high_freq_factor")).value_or(0);
    const double length = number_of(member(rope, "original_max_position_embeddings")).value_or(0);
    if (!(factor > 0) || !(low > 0) || !(high > low) || !(length > 0)) return corrupt("its scaling of positions");
    std::vector<float> factors;
    for (int64_t i = 0; i < head_dim_ / 2; ++i) {
      const double wave =
          2 * std::numbers::pi * std::pow(base_of(rope), 2.0 * static_cast<double>(i) / static_cast<double>(head_dim_));
      const double smooth = std::clamp((length / wave - low) / (high - low), 0.0, 1.0);
      factors.push_back(static_cast<float>(1.0 / ((1 - smooth) / factor + smooth)));
    }
    add_vector("rope_freqs.weight", factors);
    return {};
  }

  // The magnitude is what GGUF files leave to the reader, times theirs.
  Status add_yarn(const Json& rope, double factor) {
    const auto length = number_of(member(rope, "original_max_position_embeddings"))
                            .value_or(number_of(setting("max_position_embeddings")).value_or(0));
    if (!(factor >= 1) || !(length > 0)) return corrupt("its scaling of positions");
    if (!flag_of(member(rope, "truncate"), true)) return unsupported("scales positions by YaRN without whole pairs");
    const auto sharpened = [&](const char* name) {
      return 0.1 * number_of(member(rope, name)).value_or(0) * std::log(factor) + 1;
    };
    const double usual = 0.1 * std::log(factor) + 1;
    const bool has_both = number_of(member(rope, "mscale")) && number_of(member(rope, "mscale_all_dim"));
    const double magnitude = number_of(member(rope, "attention_factor"))
                                 .value_or(has_both ? sharpened("mscale") / sharpened("mscale_all_dim") : usual);
    set(key("rope.scaling.type"), "yarn");
    set(key("rope.scaling.factor"), factor);
    set(key("rope.scaling.original_context_length"), length);
    set(key("rope.scaling.attn_factor"), magnitude / usual);
    set(key("rope.scaling.yarn_beta_fast"), number_of(member(rope, "beta_fast")).value_or(32));
    set(key("rope.scaling.yarn_beta_slow"), number_of(member(rope, "beta_slow")).value_or(1));
    return {};
  }

  Status add_long_rope(const Json& rope, std::optional<double> factor) {
    for (const auto& [from, to] : {std::pair{"long_factor", "rope_factors_long.weight"},
                                   std::pair{"short_factor", "rope_factors_short.weight"}}) {
      const Json& numbers = member(rope, from);
      std::vector<float> factors;
      for (const Json& number : numbers.is_array() ? numbers : Json::array())
        factors.push_back(static_cast<float>(number_of(number).value_or(0)));
      if (factors.empty()) return corrupt("its factors for positions");
      add_vector(to, factors);
    }
    const auto length = number_of(setting("max_position_embeddings")).value_or(0);
    const Json& first = setting("original_max_position_embeddings");
    const auto original =
        integer_of(first.is_null() ? member(rope, "original_max_position_embeddings") : first).value_or(0);
    if (!(length > 0) || original <= 1) return corrupt("the lengths its positions were trained for");
    const double stretch = std::max(1.0, factor.value_or(length / static_cast<double>(original)));
    const double magnitude = number_of(member(rope, "attention_factor"))
                                 .value_or(std::sqrt(1 + std::log(stretch) / std::log(static_cast<double>(original))));
    set(key("rope.scaling.type"), "longrope");
    set(key("rope.scaling.original_context_length"), original);
    set(key("rope.scaling.attn_factor"), magnitude);
    return {};
  }

  // Where the settings name layers without rotation, they have to be those that the family's table has.
  Status check_unrotated_layers() const {
    const Json& rotated = setting("no_rope_layers");
    if (!rotated.is_array()) return {};
    const Architecture* architecture = find_architecture(family_->architecture);
    const auto period = static_cast<size_t>(architecture == nullptr ? 0 : architecture->rope_free_period);
    for (size_t i = 0; i < rotated.size(); ++i) {
      const bool free = period > 0 && (i + 1) % period == 0;
      if ((integer_of(rotated[i]).value_or(1) == 0) != free)
        return unsupported("leaves out the rotation of positions in unusual layers");
    }
    return {};
  }

  void add_vector(std::string_view name, const std::vector<float>& values) {
    const auto bytes =
        contents_.keep(std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
    Tensor tensor{{static_cast<int64_t>(values.size())}, kernels::DType::F32, {}, {}};
    tensor.data = {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
    contents_.tensors[contents_.keep(std::string(name))] = std::move(tensor);
  }

  // What the chat and the end of answers rest on.
  void add_words() {
    const Json& ends =
        published_.generation_config.is_object() && !member(published_.generation_config, "eos_token_id").is_null()
            ? member(published_.generation_config, "eos_token_id")
            : setting("eos_token_id");
    std::vector<int64_t> ids;
    for (const Json& end : ends.is_array() ? ends : Json::array({ends}))
      if (const auto id = integer_of(end)) ids.push_back(*id);
    if (!ids.empty()) set("tokenizer.ggml.eos_token_id", ids.front());
    contents_.metadata["tokenizer.ggml.eos_token_ids"] = MetadataArray(ids);
    if (const auto id = integer_of(setting("bos_token_id"))) set("tokenizer.ggml.bos_token_id", *id);
    const Json& end = member(published_.tokenizer_config, "eos_token");
    set("tokenizer.eos_token",
        std::string_view(contents_.keep(text_of(end.is_object() ? member(end, "content") : end))));
    const std::string its_template = chat_template();
    if (!its_template.empty()) set("tokenizer.chat_template", std::string_view(its_template));
  }

  std::string chat_template() const {
    if (!published_.chat_template.empty()) return std::string(published_.chat_template);
    const Json& given = member(published_.tokenizer_config, "chat_template");
    if (!given.is_array()) return text_of(given);
    for (const Json& one : given)
      if (text_of(member(one, "name")) == "default") return text_of(member(one, "template"));
    return {};
  }

  void rename_all() {
    std::map<std::string_view, Tensor> renamed;
    for (auto& [name, tensor] : contents_.tensors)
      if (const std::string ours = ggml_name(name, family_->architecture); !ours.empty())
        renamed[contents_.keep(ours)] = std::move(tensor);
    contents_.tensors = std::move(renamed);
  }

  Status rename_tensors() {
    const bool tied = flag_of(setting("tie_word_embeddings"), flag_of(member(published_.config, "tie_word_embeddings"),
                                                                      family_->architecture.starts_with("gemma")));
    rename_all();
    if (tied) contents_.tensors.erase("output.weight");
    if (!tied && contents_.tensors.count("output.weight") == 0)
      return Status(Code::Corrupt,
                    "The model " + contents_.name + " lacks the weights lm_head.weight; download it again");
    return {};
  }

  const Published& published_;
  ModelContents& contents_;
  Json config_;
  const Family* family_ = nullptr;
  int64_t head_dim_ = 0;
};

}  // namespace

Status translate(const Published& published, ModelContents& contents) { return Translator(published, contents).run(); }

}  // namespace longleaf
