#include "engine/tokenizer/json_steps.h"

#include <array>
#include <optional>

#include "engine/base/base64.h"

namespace longleaf {
namespace {

constexpr int kMaxDepth = 16;

std::optional<Behaviour> behaviour_of(const Json& step) {
  struct Name {
    std::string_view name;
    Behaviour behaviour;
  };
  static constexpr std::array names = {Name{"Removed", Behaviour::Removed}, Name{"Isolated", Behaviour::Isolated},
                                       Name{"MergedWithPrevious", Behaviour::MergedWithPrevious},
                                       Name{"MergedWithNext", Behaviour::MergedWithNext},
                                       Name{"Contiguous", Behaviour::Contiguous}};
  const std::string wanted = text_of(member(step, "behavior"));
  for (const Name& name : names)
    if (name.name == wanted) return name.behaviour;
  return std::nullopt;
}

}  // namespace

Status JsonSteps::unknown(const std::string& what) const {
  return Status(Code::Unsupported, "The tokenizer of " + model_ + " has the step " +
                                       (what.empty() ? "without a name" : what) + ", which this version does not know");
}

Result<Regex> JsonSteps::pattern(const Json& given) const {
  if (const std::string text = text_of(member(given, "String")); !text.empty()) return Regex::literal(text);
  auto regex = Regex::compile(text_of(member(given, "Regex")));
  if (regex.ok()) return regex;
  return Status(Code::Unsupported, "The tokenizer of " + model_ + " cannot be used: " + regex.status().message());
}

template <typename Step, typename Make>
Result<Step> JsonSteps::sequence(const Json& steps, Make make) {
  if (++depth_ > kMaxDepth) return unknown("of too many levels");
  std::vector<Step> all;
  for (const Json& step : steps.is_array() ? steps : Json::array()) {
    auto made = make(step);
    if (!made.ok()) return made.status();
    if (*made) all.push_back(std::move(*made));
  }
  --depth_;
  return in_sequence(std::move(all));
}

Result<Normalizer> JsonSteps::compiled(const Json& step) const {
  const std::string table = from_base64(text_of(member(step, "precompiled_charsmap")));
  if (table.empty()) return Normalizer();
  auto made = precompiled(table);
  if (made.ok()) return made;
  return Status(Code::Corrupt, "The tokenizer of " + model_ + " is unusable (" + made.status().message() + ")");
}

Result<Normalizer> JsonSteps::normalizer(const Json& step) {
  if (step.is_null()) return Normalizer();
  const std::string type = text_of(member(step, "type"));
  if (type == "Sequence")
    return sequence<Normalizer>(member(step, "normalizers"), [this](const Json& one) { return normalizer(one); });
  if (type == "NFC") return normal_form(NormalForm::C);
  if (type == "NFD") return normal_form(NormalForm::D);
  if (type == "NFKC") return normal_form(NormalForm::KC);
  if (type == "NFKD") return normal_form(NormalForm::KD);
  if (type == "Lowercase") return lowercase();
  if (type == "StripAccents") return strip_accents();
  if (type == "Strip") return strip(flag_of(member(step, "strip_left")), flag_of(member(step, "strip_right")));
  if (type == "Prepend") return prepend(text_of(member(step, "prepend")));
  if (type == "Precompiled") return compiled(step);
  if (type == "Replace") {
    const std::string with = text_of(member(step, "content")),
                      what = text_of(member(member(step, "pattern"), "String"));
    if (!what.empty()) return replace(what, with);
    LL_ASSIGN_OR_RETURN(auto regex, pattern(member(step, "pattern")));
    return replace(std::move(regex), with);
  }
  if (type == "BertNormalizer") {
    const bool lower = flag_of(member(step, "lowercase"), true);
    return bert({flag_of(member(step, "clean_text"), true), flag_of(member(step, "handle_chinese_chars"), true),
                 flag_of(member(step, "strip_accents"), lower), lower});
  }
  return unknown(type);
}

Result<PreTokenizer> JsonSteps::metaspace_step(const Json& step) const {
  const std::string scheme =
      text_of(member(step, "prepend_scheme"), flag_of(member(step, "add_prefix_space"), true) ? "always" : "never");
  const Prepend prepend = scheme == "always" ? Prepend::Always : scheme == "first" ? Prepend::First : Prepend::Never;
  const std::string mark = text_of(member(step, "replacement"), "\u2581");
  if (mark.empty()) return unknown("Metaspace without a mark");
  return metaspace(mark, prepend, flag_of(member(step, "split"), true));
}

Result<PreTokenizer> JsonSteps::pretokenizer(const Json& step) {
  if (step.is_null()) return PreTokenizer();
  const std::string type = text_of(member(step, "type"));
  if (type == "Sequence")
    return sequence<PreTokenizer>(member(step, "pretokenizers"), [this](const Json& one) { return pretokenizer(one); });
  if (type == "ByteLevel") {
    spells_bytes_ = true;
    return byte_level(flag_of(member(step, "add_prefix_space"), true), flag_of(member(step, "use_regex"), true));
  }
  if (type == "Split") {
    const auto behaviour = behaviour_of(step);
    if (!behaviour) return unknown("Split with the behaviour " + text_of(member(step, "behavior")));
    LL_ASSIGN_OR_RETURN(auto regex, pattern(member(step, "pattern")));
    return split(std::move(regex), *behaviour, flag_of(member(step, "invert")));
  }
  if (type == "Punctuation") return punctuation(behaviour_of(step).value_or(Behaviour::Isolated));
  if (type == "Digits") return digits(flag_of(member(step, "individual_digits")));
  if (type == "Metaspace") return metaspace_step(step);
  if (type == "Whitespace") return white_space();
  if (type == "WhitespaceSplit") return white_space_split();
  if (type == "BertPreTokenizer") return bert_words();
  return unknown(type);
}

}  // namespace longleaf
