// What is done to a text before it is cut: the steps that vocabularies' files name. Values; calls: any thread.
// Names and behaviour: the tokenizers library. Bytes that are not UTF-8 pass through.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "engine/tokenizer/regex.h"

namespace longleaf {

using Normalizer = std::function<std::string(std::string)>;

enum class NormalForm { C, D, KC, KD };

struct BertNormalization {
  bool clean = true;           // control characters go, white space becomes a space
  bool spread_chinese = true;  // a space on both sides of every CJK ideograph
  bool strip_accents = true;
  bool lowercase = true;
};

Normalizer normal_form(NormalForm form);
Normalizer lowercase();
Normalizer strip_accents();  // marks of every kind; decompose first
Normalizer strip(bool left, bool right);
Normalizer prepend(std::string text);  // to what is not empty
Normalizer replace(std::string what, std::string with);
Normalizer replace(Regex what, std::string with);
Normalizer squeeze_spaces();  // none at the ends, one at most elsewhere
Normalizer bert(BertNormalization options);
Normalizer in_sequence(std::vector<Normalizer> steps);

// SentencePiece's compiled table of replacements. Returns Corrupt.
Result<Normalizer> precompiled(std::string table);

}  // namespace longleaf
