// Turns the bytes of tokens into pieces of text that never split a character. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "engine/tokenizer/unicode.h"

namespace longleaf {

class Utf8Stream {
 public:
  // Returns what is complete so far; bytes that cannot become UTF-8 give U+FFFD.
  std::string push(std::string_view bytes) {
    pending_ += bytes;
    return take(false);
  }
  // Returns the rest at the end of an answer.
  std::string finish() { return take(true); }

 private:
  std::string take(bool all) {
    std::string out;
    size_t at = 0;
    while (at < pending_.size()) {
      const std::string_view rest = std::string_view(pending_).substr(at);
      const int length = character_length(rest);
      if (length == 0 && !all) break;
      const bool valid = length > 1 || (length == 1 && static_cast<unsigned char>(rest[0]) < 0x80);
      out += valid ? rest.substr(0, static_cast<size_t>(length)) : std::string_view("\uFFFD");
      at += valid ? static_cast<size_t>(length) : 1;
    }
    pending_.erase(0, at);
    return out;
  }
  std::string pending_;
};

}  // namespace longleaf
