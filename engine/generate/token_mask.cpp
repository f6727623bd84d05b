#include "engine/generate/token_mask.h"

#include <algorithm>
#include <limits>

namespace longleaf {
namespace {
constexpr size_t kMostNodes = 8192;  // of about a kilobyte
}

TokenSpellings::TokenSpellings(const Tokenizer& tokenizer) {
  for (TokenId id = 0; id < tokenizer.size(); ++id)
    if (std::string bytes = tokenizer.decode(id); !bytes.empty() && !tokenizer.ends_answer(id))
      sorted_.push_back({std::move(bytes), id});
  std::sort(sorted_.begin(), sorted_.end(), [](const Spelling& a, const Spelling& b) { return a.bytes < b.bytes; });
  for (size_t i = 1; i < sorted_.size(); ++i) {
    const std::string &a = sorted_[i - 1].bytes, &b = sorted_[i].bytes;
    sorted_[i].shared = static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  }
}

TokenMask::TokenMask(const Form& form, const Tokenizer& tokenizer, const TokenSpellings& spellings)
    : form_(form), tokenizer_(tokenizer), spellings_(spellings) {
  now_ = node_of(form.start());
}

// The node of these states and all that are reached from them without a byte.
int TokenMask::node_of(std::vector<int> reached) {
  if (reached.empty()) return kDead;
  std::vector<bool> seen(form_.states().size());
  std::vector<int> open = std::move(reached), all;
  while (!open.empty()) {
    const int state = open.back();
    open.pop_back();
    if (state < 0 || seen[static_cast<size_t>(state)]) continue;
    seen[static_cast<size_t>(state)] = true;
    const Form::State& s = form_.states()[static_cast<size_t>(state)];
    if (state == Form::kAccept || s.bytes.any()) all.push_back(state);
    open.insert(open.end(), s.free.begin(), s.free.end());
  }
  std::sort(all.begin(), all.end());
  const auto [it, is_new] = known_.try_emplace(all, static_cast<int>(nodes_.size()));
  if (is_new) {
    auto node = std::make_unique<Node>();
    node->accepts = std::find(all.begin(), all.end(), Form::kAccept) != all.end();
    node->next.fill(kUnknown);
    node->states = std::move(all);
    nodes_.push_back(std::move(node));
  }
  return it->second;
}

int TokenMask::step(int node, unsigned char byte) {
  const int known = at(node).next[byte];
  if (known != kUnknown) return known;
  std::vector<int> reached;
  for (const int state : at(node).states)
    if (const Form::State& s = form_.states()[static_cast<size_t>(state)]; s.bytes[byte]) reached.push_back(s.next);
  const int next = node_of(std::move(reached));
  nodes_[static_cast<size_t>(node)]->next[byte] = next;
  return next;
}

int TokenMask::walk(int node, std::string_view bytes) {
  for (size_t i = 0; i < bytes.size() && node != kDead; ++i) node = step(node, static_cast<unsigned char>(bytes[i]));
  return node;
}

// Spellings are sorted: what two of them begin with is walked once, and what cannot begin is passed by at once.
void TokenMask::allow_what_goes_on() {
  path_.assign(1, now_);
  size_t dead = std::string::npos;  // length of a beginning that leads nowhere
  for (const TokenSpellings::Spelling& s : spellings_.sorted()) {
    if (s.shared >= dead) continue;
    dead = std::string::npos;
    path_.resize(std::min(path_.size(), s.shared + 1));
    while (path_.size() <= s.bytes.size()) {
      const int next = step(path_.back(), static_cast<unsigned char>(s.bytes[path_.size() - 1]));
      if (next == kDead) {
        dead = path_.size();
        break;
      }
      path_.push_back(next);
    }
    if (dead == std::string::npos) allowed_.push_back(s.id);
  }
}

// Tokens after which the text stays as it is.
void TokenMask::allow_end() {
  for (TokenId id = 0; id < tokenizer_.size(); ++id)
    if (tokenizer_.ends_answer(id)) allowed_.push_back(id);
  const auto& all = spellings_.sorted();
  const auto before = [](const TokenSpellings::Spelling& s, char c) { return s.bytes[0] < c; };
  for (auto it = std::lower_bound(all.begin(), all.end(), '\n', before); it != all.end() && it->bytes[0] == '\n'; ++it)
    allowed_.push_back(it->id);
}

void TokenMask::find_allowed() {
  if (allowed_at_ == now_ && !is_first_) return;
  forget_nodes();
  allowed_.clear();
  allow_what_goes_on();
  if (at(now_).accepts) allow_end();
  if (is_first_)  // most vocabularies put a space in front of words
    for (const TokenSpellings::Spelling& s : spellings_.sorted())
      if (s.bytes[0] == ' ' && walk(now_, std::string_view(s.bytes).substr(1)) != kDead) allowed_.push_back(s.id);
  allowed_at_ = now_;
}

// Where a form leads to ever new ones, those that were seen are not kept.
void TokenMask::forget_nodes() {
  if (nodes_.size() < kMostNodes) return;
  std::vector<int> states = at(now_).states;
  nodes_.clear();
  known_.clear();
  now_ = node_of(std::move(states));
  allowed_at_ = kDead;
}

Result<std::span<const float>> TokenMask::masked(std::span<const float> logits) {
  find_allowed();
  masked_.assign(logits.size(), -std::numeric_limits<float>::infinity());
  bool any = false;
  for (const TokenId id : allowed_) {
    const auto i = static_cast<size_t>(id);
    if (i >= logits.size()) continue;
    masked_[i] = logits[i];
    any |= logits[i] > -std::numeric_limits<float>::infinity();
  }
  if (any) return std::span<const float>(masked_);
  return Status(Code::Unsupported, "This model has no words for an answer of the form that is asked for");
}

bool TokenMask::take(TokenId token) {
  std::string bytes = tokenizer_.decode(token);
  int next = tokenizer_.ends_answer(token) || bytes.empty() ? kDead : walk(now_, bytes);
  if (next == kDead && is_first_ && bytes.starts_with(' ')) {
    bytes.erase(0, 1);
    next = walk(now_, bytes);
  }
  is_first_ = false;
  if (next == kDead) return false;
  now_ = next;
  text_ += bytes;
  return true;
}

bool TokenMask::is_complete() const {
  const auto& states = at(now_).states;
  return states.size() == 1 && states[0] == Form::kAccept;
}

}  // namespace longleaf
