// Tokens that are found in a text before it is cut: control tokens and those a model's makers added. Const methods: any
// thread.
#pragma once

#include <array>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/prefixes.h"
#include "engine/tokenizer/vocabulary.h"

namespace longleaf {

struct AddedToken {
  TokenId id = -1;
  bool control = false;      // only where the text may be trusted
  bool takes_left = false;   // white space before it
  bool takes_right = false;  // … and behind
  bool whole_word = false;   // not inside a word
};

class AddedTokens {
 public:
  // Of two with one text the first stays.
  void add(std::string text, AddedToken token);
  // Call once, when all are there.
  void prepare();
  bool empty() const { return tokens_.empty(); }

  struct Match {
    size_t begin = 0, end = 0;
    TokenId id = -1;  // -1: none; begin is the end of the text
  };
  // The first one at or behind `from`; of several at one place the longest.
  Match find(std::string_view text, size_t from, bool control) const;

 private:
  const AddedToken* at(std::string_view rest, bool control, size_t& length) const;
  std::deque<std::string> texts_;
  std::vector<AddedToken> tokens_;
  Prefixes prefixes_;  // of texts_
  std::array<bool, 256> may_start_{};
};

}  // namespace longleaf
