// Cuts a template into plain text and tags, with the settings chat templates are written for: a block tag takes the
// line break behind it (trim_blocks) and the blanks before it on its line (lstrip_blocks); `-` takes all blanks.
#pragma once

#include <string>
#include <vector>

#include "engine/base/status.h"

namespace longleaf::jinja {

enum class TokenKind { Text, TagBegin, TagEnd, OutputBegin, OutputEnd, Name, String, Integer, Real, Operator, End };

struct Token {
  TokenKind kind = TokenKind::End;
  std::string text;  // of strings: without quotes, escapes resolved
  int line = 1;
};

// Ends with one End token. Returns Invalid for what cannot be a template.
Result<std::vector<Token>> tokenize(const std::string& source);

}  // namespace longleaf::jinja
