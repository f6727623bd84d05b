// The tokens of text that is in no token. Const methods: any thread.
#pragma once

#include "engine/tokenizer/subwords.h"

namespace longleaf {

class FallbackTokens {
 public:
  FallbackTokens(const Vocabulary& vocabulary, Fallback fallback) : fallback_(fallback) {
    if (fallback.bytes) byte_tokens_ = vocabulary.byte_tokens();
  }

  // Appends what stands for `text`, one character. after_unknown: what came before was unknown, too.
  // Returns true when `text` is unknown.
  bool append(std::string_view text, bool after_unknown, std::vector<TokenId>& out) const {
    if (append_bytes(text, out)) return false;
    if (fallback_.unknown >= 0 && !(fallback_.joined && after_unknown)) out.push_back(fallback_.unknown);
    return true;
  }

 private:
  bool append_bytes(std::string_view text, std::vector<TokenId>& out) const {
    if (byte_tokens_.empty()) return false;
    const size_t before = out.size();
    for (char c : text) {
      const TokenId id = byte_tokens_[static_cast<unsigned char>(c)];
      if (id < 0) return out.resize(before), false;
      out.push_back(id);
    }
    return true;
  }

  Fallback fallback_;
  std::vector<TokenId> byte_tokens_;
};

}  // namespace longleaf
