#include "engine/tokenizer/added_tokens.h"

#include <algorithm>
#include <functional>

#include "engine/tokenizer/regex.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

bool word_begins(std::string_view text) {
  static const Regex word = Regex::known("[" LL_WORD "]");
  bool found = false;
  const auto first = text.substr(0, text.empty() ? 0 : static_cast<size_t>(std::max(1, character_length(text))));
  word.find_all(first, [&](size_t, size_t) { found = true; });
  return found;
}

size_t last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && text.size() - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool word_ends(std::string_view text) { return !text.empty() && word_begins(text.substr(last_character(text))); }

size_t without_space_behind(std::string_view text) {
  while (!text.empty()) {
    const size_t last = last_character(text);
    if (!is_white_space(characters(text.substr(last)).front().code)) break;
    text = text.substr(0, last);
  }
  return text.size();
}

size_t space_in_front(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const auto chars = characters(text.substr(at, 4));
    if (!is_white_space(chars.front().code)) break;
    at += chars[1].offset;
  }
  return at;
}

}  // namespace

void AddedTokens::add(std::string text, AddedToken token) {
  if (text.empty()) return;
  may_start_[static_cast<unsigned char>(text[0])] = true;
  texts_.push_back(std::move(text));
  tokens_.push_back(token);
}

void AddedTokens::prepare() {
  std::vector<std::pair<std::string_view, int>> texts;
  for (size_t i = 0; i < texts_.size(); ++i) texts.push_back({texts_[i], static_cast<int>(i)});
  prefixes_ = Prefixes(std::move(texts));
}

// The longest one that `rest` begins with.
const AddedToken* AddedTokens::at(std::string_view rest, bool control, size_t& length) const {
  const AddedToken* found = nullptr;
  prefixes_.for_each(rest, [&](size_t n, int index) {
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    if (token.control && !control) return;
    found = &token;
    length = n;
  });
  return found;
}

AddedTokens::Match AddedTokens::find(std::string_view text, size_t from, bool control) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    if (!may_start_[static_cast<unsigned char>(text[begin])]) continue;
    size_t length = 0;
    const AddedToken* token = at(text.substr(begin), control, length);
    if (token == nullptr) continue;
    Match match{begin, begin + length, token->id};
    if (token->whole_word && (word_ends(text.substr(0, begin)) || word_begins(text.substr(match.end)))) {
      begin = match.end - 1;
      continue;
    }
    if (token->takes_left) match.begin = from + without_space_behind(text.substr(from, begin - from));
    if (token->takes_right) match.end += space_in_front(text.substr(match.end));
    return match;
  }
  return {text.size(), text.size(), -1};
}

}  // namespace longleaf
