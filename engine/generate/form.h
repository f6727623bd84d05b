// What a text must look like, byte by byte: a nondeterministic automaton (Thompson 1968). A model that writes under a
// form can write nothing else (token_mask.h), so what it wrote need not be searched for what was meant.
// Immutable; const methods: any thread.
#pragma once

#include <array>
#include <bitset>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace longleaf {

using ByteSet = std::bitset<256>;

class Form {
 public:
  // Texts that a regular expression matches from end to end (with `^` and `$` or without): characters, `.` (but a
  // line's end), `[a-z]`, `[^…]`, `\d`,
  // `\w`, `\s`, `\S`, `\n`, `\t`, `\` before a mark, `( )`, `|`, `*`, `+`, `?`, `{n}`, `{n,}`, `{n,m}`. Classes name
  // ASCII characters; `.`, `\w`, `\S` and `[^…]` have every other character as well, whole.
  // Returns Invalid with the place of what it cannot be.
  static Result<std::shared_ptr<const Form>> matching(std::string_view pattern);

  // Word for word what stands somewhere in `text`: from the beginning of a word to the end of one, white space as one
  // space. A text without words allows nothing but the empty text.
  static std::shared_ptr<const Form> quoting(std::string_view text);

  // The automaton. State 0 accepts and has no way on.
  static constexpr int kAccept = 0;
  struct State {
    ByteSet bytes;  // that lead to `next`
    int next = -1;
    std::array<int, 2> free = {-1, -1};  // reached without a byte; -1: none
  };
  const std::vector<State>& states() const { return states_; }
  const std::vector<int>& start() const { return start_; }

 private:
  friend class PatternReader;
  int add(State state);
  std::vector<State> states_ = {State{}};
  std::vector<int> start_;
};

}  // namespace longleaf
