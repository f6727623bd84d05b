#include "engine/memory/text_tree.h"

#include <algorithm>
#include <unordered_map>

namespace longleaf {
namespace {

constexpr int kMostTokens = 4096;
constexpr int kVectors = 3;  // that are read with a text

}  // namespace

TextTree text_tree(const DocumentInput& document, const Tokenizer& tokenizer, int context_tokens,
                   std::vector<int64_t>& keys) {
  const auto most = static_cast<size_t>(std::clamp(context_tokens - kVectors, 1, kMostTokens));
  TextTree tree;
  std::unordered_map<int64_t, int> numbers;
  const auto& nodes = document.nodes;
  const auto tops = std::count_if(nodes.begin(), nodes.end(), [](const auto& n) { return n.parent == 0; });
  if (tops != 1) {
    tree.parents.push_back(-1);
    tree.tokens.emplace_back();
    keys.push_back(0);
  }
  for (const DocumentNode& node : nodes) {
    numbers[node.key] = static_cast<int>(tree.size());
    const auto parent = numbers.find(node.parent);
    tree.parents.push_back(parent == numbers.end() ? (tops == 1 ? -1 : 0) : parent->second);
    auto tokens = tokenizer.encode(node.text);
    if (tokens.size() > most) tokens.resize(most);
    tree.tokens.push_back(std::move(tokens));
    keys.push_back(node.key);
  }
  return tree;
}

std::vector<std::vector<int>> levels_of(const TextTree& tree) {
  std::vector<std::vector<int>> levels;
  std::vector<size_t> depth(tree.size(), 0);
  for (size_t i = 0; i < tree.size(); ++i) {
    if (tree.parents[i] >= 0) depth[i] = depth[static_cast<size_t>(tree.parents[i])] + 1;
    if (levels.size() <= depth[i]) levels.resize(depth[i] + 1);
    levels[depth[i]].push_back(static_cast<int>(i));
  }
  return levels;
}

}  // namespace longleaf
