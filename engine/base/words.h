// Words of a text for matching by meaning: search terms, sentence support. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longleaf {

// Lower-case runs of letters and digits; bytes beyond ASCII count as letters, except general punctuation.
std::vector<std::string> words_of(std::string_view text);

// Words that carry meaning, in order, each once.
std::vector<std::string> content_words(std::string_view text);

bool is_function_word(std::string_view word);

// A crude stem, so that "pumps" and "pump", "installed" and "installing" meet: common English endings cut, at least
// four letters kept (three for a plural).
std::string stem(std::string_view word);

}  // namespace longleaf
