// Text to token ids and back, by the vocabulary of a model file: SentencePiece ("llama") and byte-level BPE ("gpt2").
// Immutable; const methods: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/gguf.h"
#include "engine/tokenizer/pretokenize.h"

namespace longleaf {

using TokenId = int32_t;

class Tokenizer {
 public:
  // Returns Unsupported with the name of an unknown tokenizer, Corrupt for an unusable vocabulary.
  static Result<std::shared_ptr<const Tokenizer>> load(std::shared_ptr<const Gguf> file);

  enum class Special {
    AsText,   // "<|im_end|>" in the text is eleven characters: for documents and questions, which nobody may trust
    AsToken,  // … is one control token: for templates
  };
  // Any bytes are accepted. No beginning-of-sequence token is added.
  std::vector<TokenId> encode(std::string_view text, Special special = Special::AsText) const;

  // The bytes a token stands for; control tokens give nothing. Concatenated, the bytes of a text's tokens are the text
  // (SentencePiece puts one space in front). REQUIRES: 0 <= id < size().
  std::string decode(TokenId id) const;
  std::string decode(const std::vector<TokenId>& ids) const;

  int size() const { return static_cast<int>(texts_.size()); }
  TokenId bos() const { return bos_; }  // -1 when there is none
  bool adds_bos() const { return adds_bos_ && bos_ >= 0; }
  // True for tokens that end an answer.
  bool ends_answer(TokenId id) const;
  std::string_view text(TokenId id) const { return texts_[static_cast<size_t>(id)]; }

 private:
  enum class Kind { SentencePiece, BytePair };
  enum class Type : uint8_t { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

  Tokenizer() = default;
  Status read(const Gguf& file);
  Status read_byte_pairs(const Gguf& file);
  void find_specials();
  TokenId find(std::string_view text) const;
  void encode_fragment(std::string_view text, bool after_special, std::vector<TokenId>& out) const;
  void encode_sentence_piece(std::string_view text, bool space_in_front, std::vector<TokenId>& out) const;
  void encode_byte_pairs(std::string_view text, std::vector<TokenId>& out) const;
  void encode_word(const std::string& word, std::vector<TokenId>& out) const;
  void append_bytes(std::string_view bytes, std::vector<TokenId>& out) const;

  std::shared_ptr<const Gguf> file_;
  Kind kind_ = Kind::SentencePiece;
  PreTokenizer pre_ = PreTokenizer::Gpt2;
  std::vector<std::string_view> texts_;
  std::vector<float> scores_;
  std::vector<Type> types_;
  std::unordered_map<std::string_view, TokenId> ids_;
  std::unordered_map<std::string_view, int> merge_ranks_;  // "left right"
  std::vector<TokenId> specials_;                          // control and user-defined tokens, longest text first
  std::vector<TokenId> byte_tokens_;                       // SentencePiece: <0x00>…<0xFF>, -1 where missing
  std::vector<TokenId> enders_;
  TokenId bos_ = -1, unknown_ = -1;
  bool adds_bos_ = false, space_in_front_ = true, whole_words_first_ = false;
};

}  // namespace longleaf
