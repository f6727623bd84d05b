#include "engine/memory/text_tree.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string>
#include <unordered_map>

#include "engine/tokenizer/sentences.h"

namespace longleaf {
namespace {

constexpr int kMostTokens = 4096;
constexpr int kVectors = 3;  // that are read with a text

// Without the white space behind it.
std::span<const TokenId> trimmed(std::span<const TokenId> tokens, const Tokenizer& tokenizer) {
  const auto is_blank = [&](TokenId token) {
    return tokenizer.decode(token).find_first_not_of(" \n\t\r") == std::string::npos;
  };
  while (!tokens.empty() && is_blank(tokens.back())) tokens = tokens.first(tokens.size() - 1);
  return tokens;
}

// As many whole sentences as there is room for, one piece behind the other; a longer sentence is cut into equal parts.
// White space alone is no piece.
std::vector<std::vector<TokenId>> pieces_of(std::span<const TokenId> text, const Tokenizer& tokenizer, size_t most) {
  text = trimmed(text, tokenizer);
  std::vector<int> ends = sentence_starts(tokenizer, text);
  ends.push_back(static_cast<int>(text.size()));
  std::vector<std::vector<TokenId>> pieces;
  size_t begin = 0, fits = 0;
  const auto cut = [&](size_t end) {
    const auto piece = text.subspan(begin, end - begin);
    if (!trimmed(piece, tokenizer).empty()) pieces.emplace_back(piece.begin(), piece.end());
    begin = end;
  };
  for (const int next : ends) {
    const auto end = static_cast<size_t>(next);
    if (end - begin > most && fits > begin) cut(fits);
    for (size_t parts = (end - begin + most - 1) / most; parts > 1; --parts)
      cut(begin + (end - begin + parts - 1) / parts);
    fits = end;
  }
  cut(text.size());
  return pieces;
}

}  // namespace

int piece_length(const MemorySettings& memory, int context_tokens) {
  if (memory.method == MemoryMethod::Recurrent) return std::numeric_limits<int>::max();
  const int most = std::clamp(context_tokens - kVectors, 1, kMostTokens);
  return memory.piece_tokens > 0 ? std::min(memory.piece_tokens, most) : most;
}

TextTree text_tree(const DocumentInput& document, const Tokenizer& tokenizer, int piece_tokens,
                   std::vector<int64_t>& keys) {
  const auto most = static_cast<size_t>(piece_tokens);
  TextTree tree;
  const auto add = [&](int parent, int64_t key, std::vector<TokenId> tokens) {
    tree.parents.push_back(parent);
    tree.tokens.push_back(std::move(tokens));
    keys.push_back(key);
    return static_cast<int>(tree.size()) - 1;
  };
  std::unordered_map<int64_t, int> numbers;
  const auto& nodes = document.nodes;
  const auto tops = std::count_if(nodes.begin(), nodes.end(), [](const auto& n) { return n.parent == 0; });
  if (tops != 1) add(-1, 0, {});
  for (const DocumentNode& node : nodes) {
    const auto above = numbers.find(node.parent);
    const int parent = above == numbers.end() ? (tops == 1 ? -1 : 0) : above->second;
    auto tokens = tokenizer.encode(node.text);
    if (tokens.size() <= most) {
      numbers[node.key] = add(parent, node.key, std::move(tokens));
      continue;
    }
    const int number = numbers[node.key] = add(parent, node.key, {});
    for (auto& piece : pieces_of(tokens, tokenizer, most)) add(number, node.key, std::move(piece));
  }
  return tree;
}

bool is_piece(const TextTree& tree, const std::vector<int64_t>& keys, int node) {
  const int parent = tree.parents[static_cast<size_t>(node)];
  return parent >= 0 && keys[static_cast<size_t>(parent)] == keys[static_cast<size_t>(node)];
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
