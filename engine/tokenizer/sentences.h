// Where sentences begin among tokens, so that a text can be told, or cut, between them.
#pragma once

#include <span>
#include <vector>

#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

// Numbers of tokens that a sentence or line begins with, rising from 0; none of no tokens.
std::vector<int> sentence_starts(const Tokenizer& tokenizer, std::span<const TokenId> tokens);

}  // namespace longleaf
