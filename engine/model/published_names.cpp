#include "engine/model/published_names.h"

#include <array>

namespace longleaf {
namespace {

struct Name {
  std::string_view theirs, ours;
};
constexpr std::array kWhole = {Name{"embed_tokens", "token_embd"}, Name{"norm", "output_norm"},
                               Name{"lm_head", "output"}};
constexpr std::array kOfLayer = {
    Name{"input_layernorm", "attn_norm"},    Name{"post_attention_layernorm", "ffn_norm"},
    Name{"self_attn.q_proj", "attn_q"},      Name{"self_attn.k_proj", "attn_k"},
    Name{"self_attn.v_proj", "attn_v"},      Name{"self_attn.o_proj", "attn_output"},
    Name{"self_attn.qkv_proj", "attn_qkv"},  Name{"self_attn.q_norm", "attn_q_norm"},
    Name{"self_attn.k_norm", "attn_k_norm"}, Name{"mlp.gate_proj", "ffn_gate"},
    Name{"mlp.up_proj", "ffn_up"},           Name{"mlp.down_proj", "ffn_down"},
    Name{"mlp.gate_up_proj", "ffn_up"},      Name{"mlp.gate", "ffn_gate_inp"},
};
// Of families that also have norms behind.
constexpr std::array kNormsBehind = {Name{"post_attention_layernorm", "post_attention_norm"},
                                     Name{"pre_feedforward_layernorm", "ffn_norm"},
                                     Name{"post_feedforward_layernorm", "post_ffw_norm"}};
// Of encoders.
constexpr std::array kOfEncoder = {
    Name{"embeddings.word_embeddings", "token_embd"},
    Name{"embeddings.position_embeddings", "position_embd"},
    Name{"embeddings.token_type_embeddings", "token_types"},
    Name{"embeddings.LayerNorm", "token_embd_norm"},
};
constexpr std::array kOfEncoderLayer = {
    Name{"attention.self.query", "attn_q"},
    Name{"attention.self.key", "attn_k"},
    Name{"attention.self.value", "attn_v"},
    Name{"attention.output.dense", "attn_output"},
    Name{"attention.output.LayerNorm", "attn_output_norm"},
    Name{"intermediate.dense", "ffn_up"},
    Name{"output.dense", "ffn_down"},
    Name{"output.LayerNorm", "layer_output_norm"},
};
constexpr std::array kOfExpert = {Name{"gate_proj", "ffn_gate"}, Name{"up_proj", "ffn_up"},
                                  Name{"down_proj", "ffn_down"}};

template <typename Names>
std::string_view find(const Names& names, std::string_view theirs) {
  for (const Name& name : names)
    if (name.theirs == theirs) return name.ours;
  return {};
}

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// "12.rest" → "12", and text becomes "rest".
std::string_view take_number(std::string_view& text) {
  const size_t end = text.find_first_not_of("0123456789");
  if (end == 0 || end == std::string_view::npos || text[end] != '.') return {};
  const std::string_view number = text.substr(0, end);
  text.remove_prefix(end + 1);
  return number;
}

std::string of_encoder(std::string_view rest) {
  if (!take(rest, "encoder.layer.")) return std::string(find(kOfEncoder, rest));
  const std::string_view layer = take_number(rest);
  const std::string_view ours = find(kOfEncoderLayer, rest);
  return layer.empty() || ours.empty() ? "" : "blk." + std::string(layer) + "." + std::string(ours);
}

std::string of_layer(std::string_view rest, std::string_view architecture) {
  if (take(rest, "mlp.experts.")) {
    const std::string_view expert = take_number(rest);
    const std::string_view ours = find(kOfExpert, rest);
    return expert.empty() || ours.empty() ? "" : std::string(ours) + "." + std::string(expert);
  }
  if (architecture.starts_with("gemma") || architecture == "olmo2")
    if (const auto ours = find(kNormsBehind, rest); !ours.empty()) return std::string(ours);
  return std::string(find(kOfLayer, rest));
}

}  // namespace

std::string ggml_name(std::string_view name, std::string_view architecture) {
  std::string_view rest = name;
  for (const char* prefix : {"language_model.", "model.", "language_model.", "bert.", "roberta."}) take(rest, prefix);
  if (rest.starts_with("vision_tower.") || rest.starts_with("multi_modal_projector.") || rest.starts_with("pooler.") ||
      rest.starts_with("vision_model.") || rest == "image_newline" || rest.ends_with("rotary_emb.inv_freq") ||
      rest.ends_with("position_ids"))
    return {};
  if (architecture == "bert" && (rest.starts_with("cls.") || rest.starts_with("lm_head."))) return {};
  const size_t dot = rest.rfind('.');
  if (dot == std::string_view::npos) return std::string(name);
  const std::string kind(rest.substr(dot));  // ".weight", ".bias"
  rest = rest.substr(0, dot);
  std::string prefix, ours;
  if (architecture == "bert") {
    ours = of_encoder(rest);
  } else if (take(rest, "layers.")) {
    const std::string_view layer = take_number(rest);
    prefix = "blk." + std::string(layer) + ".";
    ours = layer.empty() ? "" : of_layer(rest, architecture);
  } else {
    ours = find(kWhole, rest);
  }
  return ours.empty() ? std::string(name) : prefix + ours + kind;
}

}  // namespace longleaf
