// Characters as layout sees them. Pure functions: any thread.
#pragma once

#include <string>
#include <string_view>

namespace longleaf {

// U+FFFD for what is no character; 0 for an empty text.
char32_t first_character(std::string_view text);
char32_t last_character(std::string_view text);

bool is_letter(char32_t c);
bool has_letter_or_digit(std::string_view text);
bool is_small_letter(char32_t c);
// Chinese, Japanese, Thai and their kin: lines of these are joined without a space.
bool is_written_without_spaces(char32_t c);

// What a character stands for: letters for a ligature, nothing for a soft hyphen, a space for one that does not break.
// `own`, the character itself, for all others.
std::string_view spelled_out(char32_t c, std::string_view own);

}  // namespace longleaf
