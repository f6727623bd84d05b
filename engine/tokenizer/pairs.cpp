// Byte-pair encoding: join the best adjacent pair until none can be joined.
#include <optional>
#include <queue>

#include "engine/tokenizer/fallback.h"
#include "engine/tokenizer/subwords.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

struct Symbol {
  std::string_view text;  // empty once joined to the left neighbour
  TokenId token = -1;
  int previous = -1, next = -1;
};

struct Candidate {
  float rank;
  int left, right;
  size_t length;  // of the joined text; differs when one side has been joined since
  TokenId token;
  bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

std::string_view joined(const Symbol& a, const Symbol& b) { return {a.text.data(), a.text.size() + b.text.size()}; }

// The characters of `text`; without those that have no token unless `keep_unknown`: what is left then stands side by
// side, as the tokenizers library has it.
std::vector<Symbol> split_characters(const Vocabulary& vocabulary, std::string_view text, bool keep_unknown) {
  const auto chars = characters(text);
  std::vector<Symbol> symbols;
  for (size_t i = 0; i + 1 < chars.size(); ++i) {
    const auto one = text.substr(chars[i].offset, chars[i + 1].offset - chars[i].offset);
    const TokenId token = vocabulary.find_text(one);
    const auto at = static_cast<int>(symbols.size());
    if (token >= 0 || keep_unknown) symbols.push_back({one, token, at - 1, at + 1});
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

// merge(left, right) → std::optional<Merge>. Time O(n log n) in the number of symbols; ties: leftmost first.
template <typename F>
void join_all(std::vector<Symbol>& symbols, F merge) {
  std::priority_queue<Candidate> queue;
  const auto at = [&](int i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto offer = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    if (const std::optional<Merge> m = merge(at(left), at(right)))
      queue.push({m->rank, left, right, at(left).text.size() + at(right).text.size(), m->token});
  };
  for (size_t i = 1; i < symbols.size(); ++i) offer(static_cast<int>(i) - 1, static_cast<int>(i));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol &left = at(best.left), &right = at(best.right);
    if (left.text.empty() || right.text.empty() || left.text.size() + right.text.size() != best.length) continue;
    left.text = joined(left, right);
    left.token = best.token;
    right.text = {};
    left.next = right.next;
    if (right.next >= 0) at(right.next).previous = best.left;
    offer(left.previous, best.left);
    offer(best.left, left.next);
  }
}

void append(const std::vector<Symbol>& symbols, const FallbackTokens& fallback, std::vector<TokenId>& out) {
  bool after_unknown = false;
  for (const Symbol& symbol : symbols) {
    if (symbol.text.empty()) continue;
    if (symbol.token >= 0) out.push_back(symbol.token);
    after_unknown = symbol.token < 0 && fallback.append(symbol.text, after_unknown, out);
  }
}

}  // namespace

Subwords byte_pairs(const Vocabulary& vocabulary, Merges merges, bool whole_first, Fallback fallback) {
  const bool keep_unknown = fallback.bytes || fallback.unknown >= 0;
  return [&vocabulary, merges = std::move(merges), whole_first, keep_unknown,
          fallback = FallbackTokens(vocabulary, fallback)](std::string_view piece, std::vector<TokenId>& out) {
    if (whole_first)
      if (const TokenId id = vocabulary.find_text(piece); id >= 0) return out.push_back(id);
    auto symbols = split_characters(vocabulary, piece, keep_unknown);
    join_all(symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
      if (left.token < 0 || right.token < 0) return std::nullopt;
      const auto it = merges.find(pair_key(left.token, right.token));
      return it == merges.end() ? std::nullopt : std::optional(it->second);
    });
    append(symbols, fallback, out);
  };
}

Subwords scored_pairs(const Vocabulary& vocabulary, std::vector<float> scores, Fallback fallback) {
  return [&vocabulary, scores = std::move(scores), fallback = FallbackTokens(vocabulary, fallback)](
             std::string_view piece, std::vector<TokenId>& out) {
    auto symbols = split_characters(vocabulary, piece, true);
    join_all(symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Merge> {
      const TokenId id = vocabulary.find_text(joined(left, right));
      return id < 0 ? std::nullopt : std::optional(Merge{-scores[static_cast<size_t>(id)], id});
    });
    append(symbols, fallback, out);
  };
}

}  // namespace longleaf
