#include <algorithm>
#include <limits>
#include <memory>

#include "engine/tokenizer/fallback.h"
#include "engine/tokenizer/prefixes.h"
#include "engine/tokenizer/subwords.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

constexpr double kUnknownPenalty = 10;  // below the least likely token

// The tokens that text may become.
Prefixes tokens_of(const Vocabulary& vocabulary) {
  using Type = Vocabulary::Type;
  std::vector<std::pair<std::string_view, int>> texts;
  for (TokenId id = 0; vocabulary.contains(id); ++id)
    if (vocabulary.type(id) != Type::Control && vocabulary.type(id) != Type::Unused && !vocabulary.text(id).empty())
      texts.push_back({vocabulary.text(id), id});
  return Prefixes(std::move(texts));
}

struct Node {
  double score = -std::numeric_limits<double>::infinity();  // of the best way here
  size_t from = 0;
  TokenId token = -1;
};

class Unigram {
 public:
  Unigram(const Vocabulary& vocabulary, const std::vector<double>& scores, Fallback fallback)
      : prefixes_(tokens_of(vocabulary)), scores_(scores), fallback_(vocabulary, fallback), unknown_(fallback.unknown) {
    double least = 0;
    for (double score : scores) least = std::min(least, score);
    unknown_score_ = least - kUnknownPenalty;
  }

  void encode(std::string_view piece, std::vector<TokenId>& out) const {
    const auto best = best_ways(piece);
    std::vector<size_t> ends;
    for (size_t at = piece.size(); at > 0; at = best[at].from) ends.push_back(at);
    bool after_unknown = false;
    for (size_t i = ends.size(); i-- > 0;) {
      const Node& node = best[ends[i]];
      if (node.token >= 0) out.push_back(node.token);
      after_unknown =
          node.token < 0 && fallback_.append(piece.substr(node.from, ends[i] - node.from), after_unknown, out);
    }
  }

 private:
  std::vector<Node> best_ways(std::string_view piece) const {
    const auto chars = characters(piece);
    std::vector<Node> best(piece.size() + 1);
    best[0].score = 0;
    const auto offer = [&](size_t from, size_t to, double score, TokenId token) {
      if (best[from].score + score > best[to].score) best[to] = {best[from].score + score, from, token};
    };
    for (size_t i = 0; i + 1 < chars.size(); ++i) {
      const size_t from = chars[i].offset, next = chars[i + 1].offset;
      bool known = false;
      prefixes_.for_each(piece.substr(from), [&](size_t length, TokenId id) {
        known = known || from + length == next;
        offer(from, from + length, id == unknown_ ? unknown_score_ : scores_[static_cast<size_t>(id)],
              id == unknown_ ? -1 : id);
      });
      if (!known) offer(from, next, unknown_score_, -1);
    }
    return best;
  }

  Prefixes prefixes_;
  std::vector<double> scores_;
  FallbackTokens fallback_;
  TokenId unknown_;
  double unknown_score_ = 0;
};

}  // namespace

Subwords unigram(const Vocabulary& vocabulary, const std::vector<double>& scores, Fallback fallback) {
  return [model = std::make_shared<const Unigram>(vocabulary, scores, fallback)](
             std::string_view piece, std::vector<TokenId>& out) { model->encode(piece, out); };
}

}  // namespace longleaf
