// How a text is cut into the pieces inside which subwords are looked for: the steps that vocabularies' files name.
// Values; calls: any thread. Names and behaviour: the tokenizers library.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/tokenizer/regex.h"

namespace longleaf {

// Cuts, and may rewrite, the pieces in place. `at_start`: the first piece begins the whole text.
using PreTokenizer = std::function<void(std::vector<std::string>& pieces, bool at_start)>;

// What becomes of a match that separates pieces.
enum class Behaviour { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };
enum class Prepend { Never, First, Always };

// invert: what lies between the matches separates.
PreTokenizer split(Regex pattern, Behaviour behaviour, bool invert = false);
// Spells every byte as a printable character (GPT-2). cut: by GPT-2's rules before.
PreTokenizer byte_level(bool space_in_front, bool cut);
// Puts `mark` in the place of spaces, and in front as `prepend` says. cut: before every mark.
PreTokenizer metaspace(std::string mark, Prepend prepend, bool cut);
PreTokenizer digits(bool each);
PreTokenizer punctuation(Behaviour behaviour);
PreTokenizer white_space();        // words and runs of other characters; white space goes
PreTokenizer white_space_split();  // white space goes
PreTokenizer bert_words();         // white space goes, every punctuation character stands alone
PreTokenizer in_sequence(std::vector<PreTokenizer> steps);

// The byte that a character of GPT-2's spelling stands for; -1 when there is none.
int spelled_byte(uint32_t code);

}  // namespace longleaf
