// A document as HMT reads it (arXiv 2405.06067): all its text in reading order, cut into segments of one length.
// Immutable: any thread.
#pragma once

#include <span>

#include "engine/memory/text_tree.h"

namespace longleaf {

class Segments {
 public:
  //   length  of a segment in tokens, at least 1; the last may be shorter
  Segments(const TextTree& tree, int length);

  size_t size() const { return (tokens_.size() + length_ - 1) / length_; }
  std::span<const TokenId> segment(size_t i) const { return with_front(i, 0); }
  // With up to `n` tokens of the text in front of it; of i = size(), which is empty, only those.
  std::span<const TokenId> with_front(size_t i, int n) const;
  // The first half of a segment, which its summary is made of (equation 1).
  std::span<const TokenId> summarized(size_t i) const { return segment(i).first((segment(i).size() + 1) / 2); }
  // Numbers of the segments that have text of a node.
  std::vector<int> of_node(int node) const;
  // Nodes that have text among the last `n` tokens.
  std::vector<int> last_nodes(size_t n) const;

 private:
  size_t length_;
  std::vector<TokenId> tokens_;
  std::vector<size_t> begins_;  // of every node's text, and the end of all
};

}  // namespace longleaf
