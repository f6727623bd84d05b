// Text to token ids and back, by the vocabulary of a model: byte-pair encoding, SentencePiece's two ways, and BERT's
// word pieces, from a GGUF file's metadata or from a tokenizer.json. Immutable; const methods: any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/model_file.h"
#include "engine/tokenizer/added_tokens.h"
#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/pretokenizer.h"
#include "engine/tokenizer/subwords.h"
#include "engine/tokenizer/vocabulary.h"

namespace longleaf {

// Everything a vocabulary's file says.
struct TokenizerParts {
  enum class Spelling { Bytes, Marks };  // how tokens spell text: GPT-2's bytes, or marks for spaces and <0x..> tokens

  Vocabulary vocabulary;
  AddedTokens before, after;  // found in the text as it comes, and in the normalised one
  Normalizer normalizer;      // may be empty
  PreTokenizer pretokenizer;  // may be empty
  Subwords subwords;          // points to `vocabulary`
  Spelling spelling = Spelling::Marks;
  std::vector<TokenId> prefix, suffix;  // that the model wants around every text
  std::vector<TokenId> enders;          // end an answer
  TokenId bos = -1;
};

class Tokenizer {
 public:
  // Returns Unsupported with the name of an unknown tokenizer, Corrupt for an unusable vocabulary.
  static Result<std::shared_ptr<const Tokenizer>> load(std::shared_ptr<const ModelFile> file);

  enum class Special {
    AsText,   // "<|im_end|>" in the text is ten characters: for documents and questions, which nobody may trust
    AsToken,  // … is one control token: for templates
  };
  // Any bytes are accepted. No beginning-of-sequence token is added.
  std::vector<TokenId> encode(std::string_view text, Special special = Special::AsText) const;
  // What the model wants before and behind a text: "[CLS]" and "[SEP]", or a beginning-of-sequence token.
  const std::vector<TokenId>& prefix() const { return parts_->prefix; }
  const std::vector<TokenId>& suffix() const { return parts_->suffix; }

  // The bytes a token stands for; control tokens give nothing. Concatenated, the bytes of a text's tokens are the text
  // as the vocabulary's normalisation leaves it (SentencePiece puts one space in front). REQUIRES: 0 <= id < size().
  std::string decode(TokenId id) const;
  std::string decode(const std::vector<TokenId>& ids) const;

  int size() const { return static_cast<int>(parts_->vocabulary.size()); }
  TokenId bos() const { return parts_->bos; }  // -1 when there is none
  bool adds_bos() const;
  TokenId end() const { return parts_->enders.empty() ? -1 : parts_->enders.front(); }  // of an answer; -1: none
  // True for tokens that end an answer.
  bool ends_answer(TokenId id) const;
  std::string_view text(TokenId id) const { return parts_->vocabulary.text(id); }

 private:
  Tokenizer() = default;
  void encode_fragment(std::string_view text, Special special, bool at_start, std::vector<TokenId>& out) const;
  void encode_words(std::string_view text, bool at_start, std::vector<TokenId>& out) const;

  std::shared_ptr<const ModelFile> file_;
  std::unique_ptr<const TokenizerParts> parts_;
};

}  // namespace longleaf
