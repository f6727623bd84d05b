// Which tokens may come next in a text of a given form: a mask over the vocabulary, found by walking the spellings of
// all tokens and the automaton together (Willard and Louf, arXiv 2307.09702). Not thread-safe: one per answer.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/generate/form.h"
#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

// The spellings of all tokens that say something, in the order of their bytes. Immutable; const methods: any thread.
class TokenSpellings {
 public:
  explicit TokenSpellings(const Tokenizer& tokenizer);
  struct Spelling {
    std::string bytes;
    TokenId id = 0;
    size_t shared = 0;  // bytes at the beginning that the one before has, too
  };
  const std::vector<Spelling>& sorted() const { return sorted_; }

 private:
  std::vector<Spelling> sorted_;
};

class TokenMask {
 public:
  // All must outlive it.
  TokenMask(const Form& form, const Tokenizer& tokenizer, const TokenSpellings& spellings);

  // The logits, those of tokens that cannot follow at minus infinity: neither going on in the form, after one space at
  // the very beginning, nor, where the text is whole, ending the answer (a token that does, or a line's end). Valid
  // until the next call. Returns Unsupported where nothing can.
  Result<std::span<const float>> masked(std::span<const float> logits);
  // `token` follows. False: it ended the text.
  bool take(TokenId token);
  // What there is, without the space at its beginning that the form does not have.
  const std::string& text() const { return text_; }
  // The text has the form.
  bool accepts() const { return at(now_).accepts; }
  // … and nothing can follow.
  bool is_complete() const;
  size_t nodes() const { return nodes_.size(); }  // that are known, of about a kilobyte each

 private:
  static constexpr int kDead = -1, kUnknown = -2;
  // A set of the form's states: lazily, a deterministic automaton.
  struct Node {
    std::vector<int> states;
    bool accepts = false;
    std::array<int, 256> next;
  };
  int node_of(std::vector<int> reached);
  int step(int node, unsigned char byte);
  int walk(int node, std::string_view bytes);
  void find_allowed();
  void allow_what_goes_on();
  void allow_end();
  void forget_nodes();
  const Node& at(int node) const { return *nodes_[static_cast<size_t>(node)]; }

  const Form& form_;
  const Tokenizer& tokenizer_;
  const TokenSpellings& spellings_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<std::vector<int>, int> known_;
  int now_ = 0;
  bool is_first_ = true;
  std::string text_;
  std::vector<TokenId> allowed_;  // at the node allowed_at_; kDead: not found yet
  int allowed_at_ = kDead;
  std::vector<int> path_;  // nodes that the bytes of a token lead through
  std::vector<float> masked_;
};

}  // namespace longleaf
