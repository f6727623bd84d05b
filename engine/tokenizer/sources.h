// Where vocabularies come from.
#pragma once

#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

// From a GGUF file's metadata; the file outlives the parts.
// Returns Unsupported with the name of an unknown tokenizer, Corrupt for an unusable vocabulary.
Status read_gguf_tokenizer(const ModelFile& file, TokenizerParts& parts);

// From a tokenizer.json, as the tokenizers library writes it. Likewise.
Status read_json_tokenizer(const ModelFile& file, TokenizerParts& parts);

// Tokens that end an answer by their names, beside those the file states.
void add_enders_by_name(TokenizerParts& parts);

}  // namespace longleaf
