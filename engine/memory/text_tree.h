// A document's tree as the learned memory is made of it: every node's own text in tokens.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/memory/document.h"
#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

struct TextTree {
  std::vector<int> parents;                  // of every node, -1 for the root; parents before children, reading order
  std::vector<std::vector<TokenId>> tokens;  // of a node's own text; may be empty
  size_t size() const { return parents.size(); }
};

// The document's own root, or one above all nodes that stand alone. A text that is longer than a model of
// `context_tokens` can read at once, or than 4,096 tokens, is cut there: the rest is not in its memory.
//   keys  gets every node's key; 0 for a root that the document does not have
TextTree text_tree(const DocumentInput& document, const Tokenizer& tokenizer, int context_tokens,
                   std::vector<int64_t>& keys);

// Nodes by their distance from the root, in reading order.
std::vector<std::vector<int>> levels_of(const TextTree& tree);

}  // namespace longleaf
