// Regular expressions as vocabularies' files state them: Oniguruma's, whose syntax and character classes their makers'
// own library uses. Immutable; const methods: any thread.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "engine/base/status.h"

namespace longleaf {

// The characters of words, inside brackets, as annex 18 of Unicode has them; Oniguruma's \w differs.
#define LL_WORD R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200c}\x{200d})"

class Regex {
 public:
  // Returns Unsupported when the expression cannot be compiled.
  static Result<Regex> compile(std::string_view pattern);
  // One that is written in our own source. REQUIRES: it compiles.
  static Regex known(std::string_view pattern);
  // Matches the text itself.
  static Regex literal(std::string_view text);

  // Calls found(begin, end) for every match that is not empty, in order; none overlap. Any bytes are accepted; those
  // that are not UTF-8 match nothing but "any character". A match that takes too long ends the search.
  void find_all(std::string_view text, const std::function<void(size_t begin, size_t end)>& found) const;

 private:
  struct Compiled;
  explicit Regex(std::shared_ptr<const Compiled> compiled) : compiled_(std::move(compiled)) {}
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace longleaf
