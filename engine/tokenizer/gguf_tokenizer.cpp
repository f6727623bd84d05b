#include <algorithm>
#include <array>
#include <cctype>

#include "engine/tokenizer/sources.h"

namespace longleaf {
namespace {

using Type = Vocabulary::Type;
constexpr const char* kMark = "\u2581";

// How families of byte-level vocabularies cut text; a GGUF file only names the family. The expressions are those of the
// families' own tokenizer.json files.
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kDeepSeekLetters = R"(\s?[[\p{Lu}\p{Ll}\p{Lt}]&&[^\x{1D400}-\x{1D7FF}]]+)";
constexpr const char* kDeepSeekMarks = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";
constexpr const char* kDeepSeekIdeographs = R"([一-龥ࠀ-一가-퟿]+)";

enum class Rules { Gpt2, Digits, Llama3, Qwen2, Tekken, Gpt4o, Falcon, DeepSeek };

// What a file that does not say so leaves to its family, too: whether texts begin with the token for a beginning, and
// whether a word that is a token as it stands is not merged from its parts.
struct Family {
  std::string_view name;  // tokenizer.ggml.pre
  Rules rules;
  bool adds_bos = false;
  bool whole_words = false;
};
constexpr std::array kFamilies = {
    Family{"gpt-2", Rules::Gpt2},
    Family{"phi-2", Rules::Gpt2},
    Family{"olmo", Rules::Gpt2},
    Family{"mellum", Rules::Gpt2},
    Family{"gigachat", Rules::Gpt2},
    Family{"a.x-4.0", Rules::Gpt2},
    Family{"exaone4", Rules::Gpt2},
    Family{"roberta-bpe", Rules::Gpt2, true},
    Family{"llama-bpe", Rules::Llama3, true, true},
    Family{"llama3", Rules::Llama3, true, true},
    Family{"llama-v3", Rules::Llama3, true, true},
    Family{"falcon3", Rules::Llama3, true, true},
    Family{"falcon-h1", Rules::Llama3, true, true},
    Family{"pixtral", Rules::Llama3, true, true},
    Family{"midm-2.0", Rules::Llama3, true, true},
    Family{"lfm2", Rules::Llama3, true, true},
    Family{"smaug-bpe", Rules::Llama3},
    Family{"dbrx", Rules::Llama3},
    Family{"qwen2", Rules::Qwen2},
    Family{"stablelm2", Rules::Qwen2},
    Family{"deepseek-r1-qwen", Rules::Qwen2},
    Family{"megrez", Rules::Qwen2},
    Family{"kormo", Rules::Qwen2},
    Family{"smollm", Rules::Digits},
    Family{"starcoder", Rules::Digits},
    Family{"refact", Rules::Digits},
    Family{"command-r", Rules::Digits},
    Family{"codeshell", Rules::Digits},
    Family{"tekken", Rules::Tekken, true, true},
    Family{"gpt-4o", Rules::Gpt4o},
    Family{"llama4", Rules::Gpt4o},
    Family{"kanana2", Rules::Gpt4o},
    Family{"falcon", Rules::Falcon},
    Family{"deepseek-llm", Rules::DeepSeek},
};

PreTokenizer isolate(const char* pattern) { return split(Regex::known(pattern), Behaviour::Isolated); }

PreTokenizer cutting(Rules rules) {
  switch (rules) {
    case Rules::Gpt2:
      return byte_level(false, true);
    case Rules::Digits:
      return in_sequence({digits(true), byte_level(false, true)});
    case Rules::Llama3:
      return in_sequence({isolate(kLlama3), byte_level(false, false)});
    case Rules::Qwen2:
      return in_sequence({isolate(kQwen2), byte_level(false, false)});
    case Rules::Tekken:
      return in_sequence({isolate(kTekken), byte_level(false, false)});
    case Rules::Gpt4o:
      return in_sequence({isolate(kGpt4o), byte_level(false, false)});
    case Rules::Falcon:
      return in_sequence(
          {punctuation(Behaviour::Contiguous), byte_level(false, true), digits(false), isolate("[0-9][0-9][0-9]")});
    case Rules::DeepSeek:
      break;
  }
  return in_sequence({isolate("[\r\n]"), isolate(kDeepSeekLetters), isolate(kDeepSeekMarks), isolate("\\s+$"),
                      isolate(kDeepSeekIdeographs), digits(false), byte_level(false, false)});
}

class Reader {
 public:
  Reader(const ModelFile& file, TokenizerParts& parts) : file_(file), parts_(parts) {}

  Status read() {
    LL_RETURN_IF_ERROR(read_tokens());
    const auto model = file_.text_or("tokenizer.ggml.model", "");
    if (model == "llama")
      LL_RETURN_IF_ERROR(read_sentence_piece());
    else if (model == "gpt2")
      LL_RETURN_IF_ERROR(read_byte_pairs());
    else if (model == "t5")
      LL_RETURN_IF_ERROR(read_unigram());
    else if (model == "bert")
      read_word_pieces();
    else
      return Status(Code::Unsupported, "The model " + file_.name() + " uses the tokenizer " + std::string(model) +
                                           ", which this version does not know");
    read_surroundings(model);
    add_enders_by_name(parts_);
    return {};
  }

 private:
  Vocabulary& vocabulary() { return parts_.vocabulary; }

  Status damaged(const std::string& what) const {
    return Status(Code::Corrupt,
                  "The vocabulary of " + file_.name() + " is unusable (" + what + "); download it again");
  }

  TokenId token(const char* key) const {
    const int64_t id = file_.integer_or(key, -1);
    return parts_.vocabulary.contains(id) ? static_cast<TokenId>(id) : -1;
  }

  Status read_tokens() {
    const auto* tokens = file_.strings("tokenizer.ggml.tokens");
    if (tokens == nullptr || tokens->empty()) return damaged("there are no tokens");
    const auto* types = file_.integers("tokenizer.ggml.token_type");
    if (types != nullptr && types->size() != tokens->size()) return damaged("token types do not match tokens");
    const bool words = file_.text_or("tokenizer.ggml.model", "") == "bert";
    for (size_t i = 0; i < tokens->size(); ++i) {
      const auto type = types == nullptr ? Type::Normal : static_cast<Type>((*types)[i]);
      const auto text = words && type == Type::Normal ? word_piece((*tokens)[i]) : (*tokens)[i];
      const bool is_byte = text.size() == 6 && text.starts_with("<0x");
      vocabulary().set(static_cast<TokenId>(i), text, type == Type::Byte && !is_byte ? Type::Normal : type);
    }
    add_specials();
    return {};
  }

  // Files mark the beginning of words, vocabularies what goes on with one. The mark alone goes on: no word is empty.
  std::string_view word_piece(std::string_view text) {
    if (text.starts_with(kMark) && text != kMark) return text.substr(std::string_view(kMark).size());
    return text.starts_with('[') && text.ends_with(']') ? text : vocabulary().keep("##" + std::string(text));
  }

  void add_specials() {
    for (TokenId id = 0; vocabulary().contains(id); ++id) {
      const Type type = vocabulary().type(id);
      if (type == Type::Control || type == Type::Unknown || type == Type::UserDefined)
        parts_.before.add(std::string(vocabulary().text(id)), {.id = id, .control = type != Type::UserDefined});
    }
  }

  Status read_sentence_piece() {
    const auto* scores = file_.numbers("tokenizer.ggml.scores");
    if (scores == nullptr || scores->size() != vocabulary().size()) return damaged("scores do not match tokens");
    std::vector<Normalizer> steps;
    if (file_.flag_or("tokenizer.ggml.add_space_prefix", true)) steps.push_back(prepend(kMark));
    steps.push_back(replace(" ", kMark));
    parts_.normalizer = in_sequence(std::move(steps));
    parts_.subwords = scored_pairs(vocabulary(), {scores->begin(), scores->end()},
                                   {.bytes = true, .unknown = token("tokenizer.ggml.unknown_token_id")});
    return {};
  }

  Status read_byte_pairs() {
    const auto name = file_.text_or("tokenizer.ggml.pre", "gpt-2");
    const auto family = std::find_if(kFamilies.begin(), kFamilies.end(), [&](const auto& f) { return f.name == name; });
    if (family == kFamilies.end())
      return Status(Code::Unsupported, "The model " + file_.name() + " cuts text by the rules of " + std::string(name) +
                                           ", which this version does not know");
    const auto* pairs = file_.strings("tokenizer.ggml.merges");
    if (pairs == nullptr) return damaged("there are no merges");
    Merges merges;
    for (size_t i = 0; i < pairs->size(); ++i) {
      const std::string_view pair = (*pairs)[i];
      const size_t space = pair.find(' ', 1);
      if (space == std::string_view::npos) continue;
      const std::string_view left = pair.substr(0, space), right = pair.substr(space + 1);
      add_merge(left, right, static_cast<float>(i), merges);
    }
    parts_.spelling = TokenizerParts::Spelling::Bytes;
    parts_.pretokenizer = cutting(family->rules);
    if (family->rules == Rules::Qwen2) parts_.normalizer = normal_form(NormalForm::C);
    adds_bos_ = family->adds_bos;
    parts_.subwords = byte_pairs(vocabulary(), std::move(merges), family->whole_words, {});
    return {};
  }

  void add_merge(std::string_view left, std::string_view right, float rank, Merges& merges) {
    const TokenId a = vocabulary().find(left), b = vocabulary().find(right);
    const TokenId both = vocabulary().find(std::string(left) + std::string(right));
    if (a >= 0 && b >= 0 && both >= 0) merges.emplace(pair_key(a, b), Merge{rank, both});
  }

  Status read_unigram() {
    const auto* scores = file_.numbers("tokenizer.ggml.scores");
    if (scores == nullptr || scores->size() != vocabulary().size()) return damaged("scores do not match tokens");
    std::vector<Normalizer> steps;
    if (const auto table = file_.blob("tokenizer.ggml.precompiled_charsmap"); !table.empty()) {
      auto step = precompiled(std::string(table.begin(), table.end()));
      if (!step.ok()) return damaged(step.status().message());
      steps.push_back(std::move(*step));
    }
    if (file_.flag_or("tokenizer.ggml.remove_extra_whitespaces", false)) steps.push_back(squeeze_spaces());
    const bool front = file_.flag_or("tokenizer.ggml.add_space_prefix", true);
    parts_.normalizer = in_sequence(std::move(steps));
    parts_.pretokenizer = metaspace(kMark, front ? Prepend::Always : Prepend::Never, true);
    parts_.subwords =
        unigram(vocabulary(), *scores, {.unknown = token("tokenizer.ggml.unknown_token_id"), .joined = true});
    return {};
  }

  void read_word_pieces() {
    bool lower = true;  // unless a word has a capital
    for (TokenId id = 0; vocabulary().contains(id); ++id)
      if (vocabulary().type(id) == Type::Normal && !vocabulary().text(id).starts_with('['))
        for (char c : vocabulary().text(id)) lower = lower && std::isupper(static_cast<unsigned char>(c)) == 0;
    lower = file_.flag_or("tokenizer.ggml.normalizer.lowercase", lower);
    parts_.normalizer =
        bert({.strip_accents = file_.flag_or("tokenizer.ggml.normalizer.strip_accents", lower), .lowercase = lower});
    parts_.pretokenizer = bert_words();
    constexpr size_t kLongestWord = 100;
    const TokenId unknown = token("tokenizer.ggml.unknown_token_id");
    parts_.subwords =
        word_pieces(vocabulary(), "##", kLongestWord, unknown >= 0 ? unknown : vocabulary().find("[UNK]"));
  }

  // Tokens around a text, and those that end one.
  void read_surroundings(std::string_view model) {
    const bool embeds = model == "bert" || model == "t5";
    parts_.bos = token("tokenizer.ggml.bos_token_id");
    if (parts_.bos < 0 && embeds) parts_.bos = token("tokenizer.ggml.cls_token_id");
    if (parts_.bos >= 0 && file_.flag_or("tokenizer.ggml.add_bos_token", model != "gpt2" || adds_bos_))
      parts_.prefix.push_back(parts_.bos);
    TokenId end = model == "bert" ? token("tokenizer.ggml.seperator_token_id") : -1;
    if (end < 0) end = token("tokenizer.ggml.eos_token_id");
    if (end >= 0 && file_.flag_or("tokenizer.ggml.add_eos_token", embeds)) parts_.suffix.push_back(end);
    for (const char* key :
         {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
      if (const TokenId id = token(key); id >= 0) parts_.enders.push_back(id);
  }

  const ModelFile& file_;
  TokenizerParts& parts_;
  bool adds_bos_ = false;  // where the file does not say
};

}  // namespace

Status read_gguf_tokenizer(const ModelFile& file, TokenizerParts& parts) { return Reader(file, parts).read(); }

void add_enders_by_name(TokenizerParts& parts) {
  for (const char* end :
       {"<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "</s>", "<|end_of_text|>"})
    if (const TokenId id = parts.vocabulary.find(end); id >= 0 && parts.vocabulary.type(id) == Type::Control)
      parts.enders.push_back(id);
}

}  // namespace longleaf
