#include "engine/memory/segments.h"

#include <algorithm>

namespace longleaf {

Segments::Segments(const TextTree& tree, int length) : length_(static_cast<size_t>(length)) {
  for (const auto& text : tree.tokens) {
    begins_.push_back(tokens_.size());
    tokens_.insert(tokens_.end(), text.begin(), text.end());
  }
  begins_.push_back(tokens_.size());
}

std::span<const TokenId> Segments::with_front(size_t i, int n) const {
  const size_t begin = std::min(i * length_, tokens_.size()), end = std::min(begin + length_, tokens_.size());
  const size_t front = std::min(begin, static_cast<size_t>(n));
  return std::span(tokens_).subspan(begin - front, front + end - begin);
}

std::vector<int> Segments::of_node(int node) const {
  const size_t begin = begins_[static_cast<size_t>(node)], end = begins_[static_cast<size_t>(node) + 1];
  std::vector<int> numbers;
  for (size_t i = begin / length_; i * length_ < end; ++i) numbers.push_back(static_cast<int>(i));
  if (begin == end) numbers.clear();
  return numbers;
}

std::vector<int> Segments::last_nodes(size_t n) const {
  std::vector<int> nodes;
  for (size_t i = 0; i + 1 < begins_.size(); ++i)
    if (begins_[i + 1] > begins_[i] && begins_[i + 1] + n > tokens_.size()) nodes.push_back(static_cast<int>(i));
  return nodes;
}

}  // namespace longleaf
