// Cuts text into sentences. Any thread.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace longleaf {

struct Range {
  size_t begin = 0, end = 0;
};

// Byte ranges that together cover the text without leading and trailing spaces of each. A full stop ends a sentence
// when a space and then no lower-case letter follows, unless it closes a known abbreviation, an initial or a number.
std::vector<Range> sentences(std::string_view text);

}  // namespace longleaf
