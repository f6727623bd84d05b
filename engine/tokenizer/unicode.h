// UTF-8, and the character classes tokenizers need; code points outside Unicode are in none. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace longleaf {

// A character of UTF-8 text: its code point, and where its bytes stand. A byte that is not part of valid UTF-8 is a
// character of its own, with code point kInvalid.
struct Character {
  static constexpr uint32_t kInvalid = 0xFFFFFFFF;
  uint32_t code;
  uint32_t offset;
};

// Characters of `text`, then one past-the-end entry with offset text.size() and code 0.
std::vector<Character> characters(std::string_view text);

// Bytes of the character that starts at `text[0]`: 1 to 4; 0 when `text` is a prefix of a valid character; 1 for a
// byte that cannot begin one. REQUIRES: text is not empty.
int character_length(std::string_view text);

bool is_letter(uint32_t code);           // category L
bool is_number(uint32_t code);           // category N
bool is_mark(uint32_t code);             // category M
bool is_nonspacing_mark(uint32_t code);  // category Mn
bool is_other(uint32_t code);            // categories Cc, Cf, Cs and Co
bool is_white_space(uint32_t code);      // property White_Space

// Appends the UTF-8 form of a valid code point.
void append_utf8(uint32_t code, std::string& out);

}  // namespace longleaf
