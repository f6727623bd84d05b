// How one piece of text becomes tokens: the three ways in use. Values; calls: any thread. The vocabulary outlives them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tokenizer/vocabulary.h"

namespace longleaf {

// Appends the tokens of `piece`, any bytes.
using Subwords = std::function<void(std::string_view piece, std::vector<TokenId>& out)>;

// What stands for text that no token has.
struct Fallback {
  bool bytes = false;    // its bytes' tokens, if the vocabulary has all of them
  TokenId unknown = -1;  // else this one; -1: nothing
  bool joined = false;   // one for a run of unknown characters
};

// Two tokens that become a third, by rank; smaller ranks are joined first.
struct Merge {
  float rank = 0;
  TokenId token = -1;
};
inline uint64_t pair_key(TokenId left, TokenId right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}
using Merges = std::unordered_map<uint64_t, Merge>;

// Byte-pair encoding (Sennrich et al., ACL 2016). whole_first: a piece that is a token is that token.
Subwords byte_pairs(const Vocabulary& vocabulary, Merges merges, bool whole_first, Fallback fallback);
// SentencePiece's: any two tokens that make a third may be joined, larger scores first.
Subwords scored_pairs(const Vocabulary& vocabulary, std::vector<float> scores, Fallback fallback);
// The most likely tokens (Kudo, ACL 2018); scores are log probabilities.
Subwords unigram(const Vocabulary& vocabulary, const std::vector<double>& scores, Fallback fallback);
// The longest token first, then the longest that goes on with `prefix` (BERT). A word that cannot be made of tokens, or
// is longer than `most` characters, is unknown.
Subwords word_pieces(const Vocabulary& vocabulary, std::string prefix, size_t most, TokenId unknown);

}  // namespace longleaf
