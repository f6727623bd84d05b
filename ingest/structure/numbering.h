// The number in front of a heading: "3.1", "IV.", "(a)", "Chapter 4". Pure functions: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longleaf {

enum class NumberKind : uint8_t { None, Decimal, Roman, UpperLetter, LowerLetter, InBrackets, Named };

struct Numbering {
  NumberKind kind = NumberKind::None;
  int depth = 0;      // of a decimal: 1 for "3", 2 for "3.1"
  std::string name;   // of a named one, lower case: "chapter"
  size_t length = 0;  // bytes up to the title
};

// A Roman numeral and a letter look alike: "I." "V." "X." are Roman, "C." "D." are letters.
Numbering numbering_of(std::string_view text);

// "3.1 Scope", "Chapter 4: Scope" and "IV. Scope" → "Scope"; the text itself when only a number would be left.
std::string without_numbering(const std::string& text);

// Lower-case letters and digits only: for comparing titles.
std::string folded(std::string_view text);

// Both: what two writings of one title have in common.
std::string title_key(const std::string& title);

}  // namespace longleaf
