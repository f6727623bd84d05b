#include "engine/tokenizer/merge.h"

#include <queue>

namespace longleaf {
namespace {

struct Symbol {
  std::string_view text;  // empty once joined to the left neighbour
  int previous, next;
};

struct Candidate {
  float priority;
  int left, right;
  size_t length;  // of the joined text; differs when one side has been joined since
  bool operator<(const Candidate& other) const {
    return priority != other.priority ? priority > other.priority : left > other.left;
  }
};

std::string_view joined(std::string_view a, std::string_view b) { return {a.data(), a.size() + b.size()}; }

}  // namespace

std::vector<std::string_view> merge_pieces(
    const std::vector<std::string_view>& pieces,
    const std::function<std::optional<float>(std::string_view, size_t)>& priority) {
  std::vector<Symbol> symbols;
  for (size_t i = 0; i < pieces.size(); ++i)
    symbols.push_back({pieces[i], static_cast<int>(i) - 1, i + 1 < pieces.size() ? static_cast<int>(i) + 1 : -1});
  std::priority_queue<Candidate> queue;
  const auto at = [&](int i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto offer = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    const auto text = joined(at(left).text, at(right).text);
    if (const auto p = priority(text, at(left).text.size())) queue.push({*p, left, right, text.size()});
  };
  for (size_t i = 1; i < symbols.size(); ++i) offer(static_cast<int>(i) - 1, static_cast<int>(i));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol &left = at(best.left), &right = at(best.right);
    if (left.text.empty() || right.text.empty() || left.text.size() + right.text.size() != best.length) continue;
    left.text = joined(left.text, right.text);
    right.text = {};
    left.next = right.next;
    if (right.next >= 0) at(right.next).previous = best.left;
    offer(left.previous, best.left);
    offer(best.left, left.next);
  }
  std::vector<std::string_view> result;
  for (const Symbol& symbol : symbols)
    if (!symbol.text.empty()) result.push_back(symbol.text);
  return result;
}

}  // namespace longleaf
