// Cuts text into the pieces inside which byte-level BPE may merge, as each model family does it.
// The rules are the families' published regular expressions, written out as code. Any thread.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace longleaf {

enum class PreTokenizer { Gpt2, Llama3, Qwen2, SmolLm };

// By the name in tokenizer.ggml.pre; nullopt for a family this version does not know.
std::optional<PreTokenizer> pre_tokenizer_named(std::string_view name);

// The pieces, in order; together they are the whole text.
std::vector<std::string_view> pretokenize(PreTokenizer kind, std::string_view text);

}  // namespace longleaf
