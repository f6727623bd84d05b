// A document's tree as the learned memory is made of it: every node's own text in tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/adapter/adapter_file.h"
#include "engine/memory/document.h"
#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

struct TextTree {
  std::vector<int> parents;                  // of every node, -1 for the root; parents before children, reading order
  std::vector<std::vector<TokenId>> tokens;  // of a node's own text; may be empty
  size_t size() const { return parents.size(); }
};

// The most tokens of a text that one memory is made of: what the settings say, or where that is 0 or too many, as many
// as a model of `context_tokens` reads at once, 4,096 at most. A recurrent memory cuts texts by itself.
int piece_length(const MemorySettings& memory, int context_tokens);

// The document's own root, or one above all nodes that stand alone. A text of more than `piece_tokens` (at least 1) is
// cut into pieces, between sentences where it can be: they are nodes below its own, which is left without text (H²MT,
// section 3.1: what does not fit is split).
//   keys  gets every node's key; 0 for a root that the document does not have, and a piece has its node's
TextTree text_tree(const DocumentInput& document, const Tokenizer& tokenizer, int piece_tokens,
                   std::vector<int64_t>& keys);

// Whether a node is a piece of the text of the one above it.
bool is_piece(const TextTree& tree, const std::vector<int64_t>& keys, int node);

// Nodes by their distance from the root, in reading order.
std::vector<std::vector<int>> levels_of(const TextTree& tree);

}  // namespace longleaf
