#include <algorithm>

#include "engine/model/json.h"
#include "engine/tokenizer/json_steps.h"
#include "engine/tokenizer/sources.h"

namespace longleaf {
namespace {

using Type = Vocabulary::Type;
constexpr int64_t kMaxToken = 1 << 22;  // the largest vocabularies have a few hundred thousand
constexpr int64_t kLongestWord = 1000;

class Reader {
 public:
  Reader(const ModelFile& file, TokenizerParts& parts) : file_(file), parts_(parts) {
    const auto table = file.tensors().find("token_embd.weight");
    if (table != file.tensors().end() && table->second.shape.size() == 2)
      most_tokens_ = std::min(most_tokens_, table->second.shape[1]);
  }

  Status read() {
    const Json json = parse_json(file_.tokenizer_json());
    if (!json.is_object()) return damaged("it is no JSON object");
    JsonSteps steps(file_.name());
    LL_ASSIGN_OR_RETURN(parts_.normalizer, steps.normalizer(member(json, "normalizer")));
    LL_ASSIGN_OR_RETURN(parts_.pretokenizer, steps.pretokenizer(member(json, "pre_tokenizer")));
    if (steps.spells_bytes()) parts_.spelling = TokenizerParts::Spelling::Bytes;
    LL_RETURN_IF_ERROR(read_model(member(json, "model"), member(json, "added_tokens")));
    LL_RETURN_IF_ERROR(read_added(member(json, "added_tokens")));
    parts_.vocabulary.pad(static_cast<size_t>(std::clamp<int64_t>(
        file_.integer_or(std::string(file_.text_or("general.architecture", "")) + ".vocab_size", 0), 0, kMaxToken)));
    read_surroundings(member(json, "post_processor"));
    add_enders_by_name(parts_);
    return {};
  }

 private:
  Vocabulary& vocabulary() { return parts_.vocabulary; }

  Status damaged(const std::string& what) const {
    return Status(Code::Corrupt,
                  "The tokenizer.json of " + file_.name() + " is unusable (" + what + "); download it again");
  }

  Status read_model(const Json& model, const Json& added) {
    const std::string type = text_of(member(model, "type"), member(model, "merges").is_array() ? "BPE" : "");
    const Json& words = member(model, "vocab");
    if (!words.is_object() && !words.is_array()) return damaged("there are no tokens");
    if (type == "Unigram") return read_unigram(model, added);
    if (!words.is_object()) return damaged("there are no tokens");
    for (auto it = words.begin(); it != words.end(); ++it) {
      const auto id = integer_of(*it);
      if (!is_possible(id)) return damaged(kImpossible);
      set(static_cast<TokenId>(*id), it.key(), flag_of(member(model, "byte_fallback")));
    }
    LL_RETURN_IF_ERROR(mark_controls(added));
    if (type == "BPE") return read_byte_pairs(model);
    if (type == "WordPiece") {
      parts_.subwords =
          word_pieces(vocabulary(), text_of(member(model, "continuing_subword_prefix"), "##"),
                      static_cast<size_t>(std::clamp<int64_t>(
                          integer_of(member(model, "max_input_chars_per_word")).value_or(100), 0, kLongestWord)),
                      vocabulary().find(text_of(member(model, "unk_token"), "[UNK]")));
      return {};
    }
    return Status(Code::Unsupported,
                  "The model " + file_.name() + " uses the tokenizer " + type + ", which this version does not know");
  }

  static constexpr const char* kImpossible = "a token lies outside the table of embeddings";
  bool is_possible(const std::optional<int64_t>& id) const { return id && *id >= 0 && *id < most_tokens_; }

  void set(TokenId id, const std::string& text, bool has_bytes) {
    const bool is_byte = has_bytes && text.size() == 6 && text.starts_with("<0x") && text.back() == '>';
    vocabulary().set(id, vocabulary().keep(text), is_byte ? Type::Byte : Type::Normal);
  }

  // Before subwords are made: none may become a control token.
  Status mark_controls(const Json& added) {
    if (!added.is_array()) return {};
    for (const Json& one : added) {
      const auto id = integer_of(member(one, "id"));
      if (!is_possible(id)) return damaged(kImpossible);
      if (flag_of(member(one, "special")) && vocabulary().contains(*id))
        vocabulary().set_type(static_cast<TokenId>(*id), Type::Control);
    }
    return {};
  }

  Fallback fallback(const Json& model) {
    const std::string unknown = text_of(member(model, "unk_token"));
    return {.bytes = flag_of(member(model, "byte_fallback")),
            .unknown = unknown.empty() ? -1 : vocabulary().find(unknown),
            .joined = flag_of(member(model, "fuse_unk"))};
  }

  Status read_byte_pairs(const Json& model) {
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!text_of(member(model, key)).empty())
        return Status(Code::Unsupported, "The model " + file_.name() + " uses a tokenizer with " + key +
                                             ", which this version does not know");
    const Json& pairs = member(model, "merges");
    if (!pairs.is_array()) return damaged("there are no merges");
    Merges merges;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const bool two = pairs[i].is_array() && pairs[i].size() == 2;
      const std::string whole = text_of(pairs[i]);
      const size_t space = whole.find(' ', whole.empty() ? 0 : 1);
      if (!two && space == std::string::npos) return damaged("a merge is no pair");
      const std::string left = two ? text_of(pairs[i][0]) : whole.substr(0, space);
      const std::string right = two ? text_of(pairs[i][1]) : whole.substr(space + 1);
      const TokenId a = vocabulary().find(left), b = vocabulary().find(right), both = vocabulary().find(left + right);
      if (a >= 0 && b >= 0 && both >= 0) merges.emplace(pair_key(a, b), Merge{static_cast<float>(i), both});
    }
    parts_.subwords =
        byte_pairs(vocabulary(), std::move(merges), flag_of(member(model, "ignore_merges")), fallback(model));
    return {};
  }

  Status read_unigram(const Json& model, const Json& added) {
    const Json& words = member(model, "vocab");
    std::vector<double> scores;
    for (const Json& word : words) {
      if (!word.is_array() || word.size() != 2) return damaged("a token has no score");
      if (!is_possible(static_cast<int64_t>(scores.size()))) return damaged(kImpossible);
      set(static_cast<TokenId>(scores.size()), text_of(word[0]), flag_of(member(model, "byte_fallback")));
      scores.push_back(number_of(word[1]).value_or(0));
    }
    LL_RETURN_IF_ERROR(mark_controls(added));
    const int64_t unknown = integer_of(member(model, "unk_id")).value_or(-1);
    parts_.subwords = unigram(vocabulary(), scores,
                              {.bytes = flag_of(member(model, "byte_fallback")),
                               .unknown = vocabulary().contains(unknown) ? static_cast<TokenId>(unknown) : -1,
                               .joined = true});
    return {};
  }

  Status read_added(const Json& added) {
    if (!added.is_array()) return {};
    for (const Json& one : added) {
      const auto id = static_cast<TokenId>(integer_of(member(one, "id")).value_or(-1));
      const std::string text = text_of(member(one, "content"));
      if (id < 0 || text.empty()) return damaged("an added token has no text");
      const bool control = flag_of(member(one, "special"));
      const bool renames = vocabulary().contains(id) && !vocabulary().text(id).empty() && vocabulary().text(id) != text;
      if (renames) return damaged("an added token has the number of another");
      vocabulary().set(id, vocabulary().keep(text), control ? Type::Control : Type::UserDefined);
      const AddedToken token{id, control, flag_of(member(one, "lstrip")), flag_of(member(one, "rstrip")),
                             flag_of(member(one, "single_word"))};
      const bool normalized = flag_of(member(one, "normalized")) && parts_.normalizer;
      (normalized ? parts_.after : parts_.before).add(normalized ? parts_.normalizer(text) : text, token);
    }
    return {};
  }

  // A template of tokens around the text, or BERT's and RoBERTa's pairs of tokens.
  void read_surroundings(const Json& processor) {
    if (const auto id = file_.integer_or("tokenizer.ggml.bos_token_id", -1); vocabulary().contains(id))
      parts_.bos = static_cast<TokenId>(id);
    read_processor(processor);
    if (parts_.bos < 0 && !parts_.prefix.empty()) parts_.bos = parts_.prefix.front();
    if (const auto* ends = file_.integers("tokenizer.ggml.eos_token_ids"))
      for (int64_t id : *ends)
        if (vocabulary().contains(id)) parts_.enders.push_back(static_cast<TokenId>(id));
  }

  void read_processor(const Json& processor) {
    const std::string type = text_of(member(processor, "type"));
    if (type == "Sequence") {
      const Json& all = member(processor, "processors");
      if (all.is_array())
        for (const Json& one : all) read_processor(one);
    } else if (type == "TemplateProcessing") {
      read_template(processor);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      const Json &first = member(processor, "cls"), &last = member(processor, "sep");
      if (first.is_array() && !first.empty()) add_around(text_of(first[0]), parts_.prefix);
      if (last.is_array() && !last.empty()) add_around(text_of(last[0]), parts_.suffix);
    }
  }

  void read_template(const Json& processor) {
    const Json& pieces = member(processor, "single");
    if (!pieces.is_array()) return;
    bool behind = false;
    for (const Json& piece : pieces) {
      behind = behind || member(piece, "Sequence").is_object();
      const Json& special = member(piece, "SpecialToken");
      if (special.is_object()) add_around(text_of(member(special, "id")), behind ? parts_.suffix : parts_.prefix);
    }
  }

  void add_around(const std::string& text, std::vector<TokenId>& tokens) {
    if (const TokenId id = vocabulary().find(text); id >= 0) tokens.push_back(id);
  }

  const ModelFile& file_;
  TokenizerParts& parts_;
  int64_t most_tokens_ = kMaxToken;
};

}  // namespace

Status read_json_tokenizer(const ModelFile& file, TokenizerParts& parts) { return Reader(file, parts).read(); }

}  // namespace longleaf
