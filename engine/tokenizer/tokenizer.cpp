#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "engine/tokenizer/merge.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";  // stands for a space in SentencePiece vocabularies

// GPT-2 vocabularies spell each byte as a printable character: printable Latin-1 bytes are themselves, the others are
// numbered from U+0100 on.
struct ByteSpelling {
  std::array<std::string, 256> spell;
  std::unordered_map<uint32_t, uint8_t> byte;
  ByteSpelling() {
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const uint32_t code = printable ? b : next++;
      append_utf8(code, spell[b]);
      byte[code] = static_cast<uint8_t>(b);
    }
  }
};

const ByteSpelling& byte_spelling() {
  static const ByteSpelling table;
  return table;
}

std::vector<std::string_view> split_characters(std::string_view text) {
  const auto chars = characters(text);
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i + 1 < chars.size(); ++i)
    pieces.push_back(text.substr(chars[i].offset, chars[i + 1].offset - chars[i].offset));
  return pieces;
}

Status damaged(const Gguf& file, const std::string& what) {
  return Status(Code::Corrupt, "The vocabulary of " + file.name() + " is unusable (" + what + "); download it again");
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(std::shared_ptr<const Gguf> file) {
  std::shared_ptr<Tokenizer> tokenizer(new Tokenizer);
  LL_RETURN_IF_ERROR(tokenizer->read(*file));
  tokenizer->file_ = std::move(file);
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

Status Tokenizer::read(const Gguf& file) {
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty()) return damaged(file, "there are no tokens");
  texts_ = *tokens;
  for (size_t i = 0; i < texts_.size(); ++i) ids_.emplace(texts_[i], static_cast<TokenId>(i));
  types_.assign(texts_.size(), Type::Normal);
  if (const auto* types = file.integers("tokenizer.ggml.token_type")) {
    if (types->size() != texts_.size()) return damaged(file, "token types do not match tokens");
    for (size_t i = 0; i < types->size(); ++i) types_[i] = static_cast<Type>((*types)[i]);
  }
  const auto token = [&](const char* key) {
    const int64_t id = file.integer_or(key, -1);
    return id >= 0 && id < static_cast<int64_t>(texts_.size()) ? static_cast<TokenId>(id) : -1;
  };
  bos_ = token("tokenizer.ggml.bos_token_id");
  unknown_ = token("tokenizer.ggml.unknown_token_id");
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const TokenId id = token(key); id >= 0) enders_.push_back(id);

  const auto model = file.text_or("tokenizer.ggml.model", "");
  if (model == "llama") {
    kind_ = Kind::SentencePiece;
    const auto* scores = file.numbers("tokenizer.ggml.scores");
    if (scores == nullptr || scores->size() != texts_.size()) return damaged(file, "scores do not match tokens");
    scores_.assign(scores->begin(), scores->end());
    adds_bos_ = file.flag_or("tokenizer.ggml.add_bos_token", true);
    space_in_front_ = file.flag_or("tokenizer.ggml.add_space_prefix", true);
    for (int b = 0; b < 256; ++b) {
      char name[8];
      std::snprintf(name, sizeof name, "<0x%02X>", b);
      byte_tokens_.push_back(find(name));
    }
  } else if (model == "gpt2") {
    LL_RETURN_IF_ERROR(read_byte_pairs(file));
  } else {
    return Status(Code::Unsupported, "The model " + file.name() + " uses the tokenizer " + std::string(model) +
                                         ", which this version does not know");
  }
  find_specials();
  return {};
}

Status Tokenizer::read_byte_pairs(const Gguf& file) {
  kind_ = Kind::BytePair;
  const auto name = file.text_or("tokenizer.ggml.pre", "gpt-2");
  const auto pre = pre_tokenizer_named(name);
  if (!pre)
    return Status(Code::Unsupported, "The model " + file.name() + " cuts text by the rules of " + std::string(name) +
                                         ", which this version does not know");
  pre_ = *pre;
  const auto* merges = file.strings("tokenizer.ggml.merges");
  if (merges == nullptr) return damaged(file, "there are no merges");
  for (size_t i = 0; i < merges->size(); ++i) merge_ranks_.emplace((*merges)[i], static_cast<int>(i));
  whole_words_first_ = pre_ == PreTokenizer::Llama3;  // that family's own encoder looks whole words up before merging
  adds_bos_ = file.flag_or("tokenizer.ggml.add_bos_token", pre_ == PreTokenizer::Llama3);
  return {};
}

void Tokenizer::find_specials() {
  for (size_t i = 0; i < texts_.size(); ++i)
    if ((types_[i] == Type::Control || types_[i] == Type::UserDefined) && !texts_[i].empty())
      specials_.push_back(static_cast<TokenId>(i));
  std::stable_sort(specials_.begin(), specials_.end(),
                   [&](TokenId a, TokenId b) { return text(a).size() > text(b).size(); });
  for (const char* end :
       {"<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<end_of_turn>", "</s>", "<|end_of_text|>"})
    if (const TokenId id = find(end); id >= 0 && types_[static_cast<size_t>(id)] == Type::Control)
      enders_.push_back(id);
}

TokenId Tokenizer::find(std::string_view text) const {
  const auto it = ids_.find(text);
  return it == ids_.end() ? -1 : it->second;
}

bool Tokenizer::ends_answer(TokenId id) const { return std::find(enders_.begin(), enders_.end(), id) != enders_.end(); }

std::vector<TokenId> Tokenizer::encode(std::string_view text, Special special) const {
  std::vector<TokenId> out;
  bool after_special = true;  // the beginning counts as one: SentencePiece puts its space there
  size_t begin = 0;
  const auto special_at = [&](size_t at) -> TokenId {
    for (TokenId id : specials_) {
      const bool wanted = types_[static_cast<size_t>(id)] == Type::UserDefined || special == Special::AsToken;
      if (wanted && text.compare(at, this->text(id).size(), this->text(id)) == 0) return id;
    }
    return -1;
  };
  std::array<bool, 256> may_start{};
  for (TokenId id : specials_) may_start[static_cast<unsigned char>(this->text(id)[0])] = true;
  for (size_t at = 0; at < text.size();) {
    const TokenId id = may_start[static_cast<unsigned char>(text[at])] ? special_at(at) : -1;
    if (id < 0) {
      ++at;
      continue;
    }
    if (at > begin) encode_fragment(text.substr(begin, at - begin), after_special, out);
    out.push_back(id);
    after_special = true;
    at = begin = at + this->text(id).size();
  }
  if (begin < text.size()) encode_fragment(text.substr(begin), after_special, out);
  return out;
}

void Tokenizer::encode_fragment(std::string_view text, bool after_special, std::vector<TokenId>& out) const {
  if (kind_ == Kind::SentencePiece)
    encode_sentence_piece(text, after_special && space_in_front_, out);
  else
    encode_byte_pairs(text, out);
}

void Tokenizer::encode_sentence_piece(std::string_view text, bool space_in_front, std::vector<TokenId>& out) const {
  std::string marked(space_in_front ? kSpaceMark : "");
  for (char c : text) c == ' ' ? marked.append(kSpaceMark) : marked.append(1, c);
  const auto pieces = merge_pieces(split_characters(marked), [this](std::string_view joined, size_t) {
    const TokenId id = find(joined);
    return id < 0 ? std::nullopt : std::optional(-scores_[static_cast<size_t>(id)]);
  });
  for (const auto piece : pieces) {
    if (const TokenId id = find(piece); id >= 0)
      out.push_back(id);
    else
      append_bytes(piece, out);
  }
}

void Tokenizer::append_bytes(std::string_view bytes, std::vector<TokenId>& out) const {
  for (char c : bytes) {
    const TokenId id = byte_tokens_[static_cast<unsigned char>(c)];
    if (id >= 0 || unknown_ >= 0) out.push_back(id >= 0 ? id : unknown_);
  }
}

void Tokenizer::encode_byte_pairs(std::string_view text, std::vector<TokenId>& out) const {
  for (const auto piece : pretokenize(pre_, text)) {
    std::string word;
    for (char c : piece) word += byte_spelling().spell[static_cast<unsigned char>(c)];
    encode_word(word, out);
  }
}

void Tokenizer::encode_word(const std::string& word, std::vector<TokenId>& out) const {
  if (whole_words_first_) {
    if (const TokenId id = find(word); id >= 0) return out.push_back(id);
  }
  std::string key;
  const auto pieces = merge_pieces(split_characters(word), [&](std::string_view joined, size_t left) {
    key.assign(joined.substr(0, left)).append(" ").append(joined.substr(left));
    const auto rank = merge_ranks_.find(key);
    return rank == merge_ranks_.end() ? std::nullopt : std::optional(static_cast<float>(rank->second));
  });
  for (const auto piece : pieces) {
    if (const TokenId id = find(piece); id >= 0) {
      out.push_back(id);
      continue;
    }
    for (const auto character : split_characters(piece))  // a vocabulary with holes: the bytes it does have
      if (const TokenId id = find(character); id >= 0) out.push_back(id);
  }
}

std::string Tokenizer::decode(TokenId id) const {
  const auto index = static_cast<size_t>(id);
  const std::string_view spelled = texts_[index];
  if (types_[index] == Type::Control || types_[index] == Type::Unknown) return {};
  std::string out;
  if (kind_ == Kind::SentencePiece) {
    const auto byte = std::find(byte_tokens_.begin(), byte_tokens_.end(), id);
    if (types_[index] == Type::Byte && byte != byte_tokens_.end())
      return std::string(1, static_cast<char>(byte - byte_tokens_.begin()));
    for (size_t at = 0; at < spelled.size();) {
      const bool mark = spelled.compare(at, kSpaceMark.size(), kSpaceMark) == 0;
      out += mark ? ' ' : spelled[at];
      at += mark ? kSpaceMark.size() : 1;
    }
    return out;
  }
  if (types_[index] == Type::UserDefined) return std::string(spelled);
  for (const Character& c : characters(spelled)) {
    if (c.offset == spelled.size()) break;
    if (const auto byte = byte_spelling().byte.find(c.code); byte != byte_spelling().byte.end())
      out += static_cast<char>(byte->second);
    else if (c.code != Character::kInvalid)
      append_utf8(c.code, out);
  }
  return out;
}

std::string Tokenizer::decode(const std::vector<TokenId>& ids) const {
  std::string out;
  for (TokenId id : ids) out += decode(id);
  return out;
}

}  // namespace longleaf
