#include "engine/generate/form.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace longleaf {
namespace {

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

std::string single_spaced(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (!is_space(c))
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// Of a script that writes no spaces between words, as far as the first byte of a character tells.
bool begins_wide_character(char c) { return static_cast<unsigned char>(c) >= 0xE3; }

// Marks in front of a word and behind one, and those that stand between words as a space does.
constexpr std::array<std::string_view, 10> kOpening = {"(",      "[",      "{",      "\"",     "'",
                                                       "\u201c", "\u2018", "\u00ab", "\u2013", "\u2014"};
constexpr std::array<std::string_view, 15> kClosing = {".", ",",  ";", ":",      "!",      "?",      ")",     "]",
                                                       "}", "\"", "'", "\u2019", "\u201d", "\u00bb", "\u2026"};
constexpr std::array<std::string_view, 3> kBetween = {" ", "\u2013", "\u2014"};

bool begins_word(std::string_view text, size_t i) {
  const std::string_view before = text.substr(0, i);
  const auto ends_before = [&](std::string_view mark) { return before.ends_with(mark); };
  return i == 0 || before.ends_with(' ') || begins_wide_character(text[i]) ||
         std::any_of(kOpening.begin(), kOpening.end(), ends_before);
}

// At `i`: nothing but marks comes before the next word or the end.
bool ends_word(std::string_view text, size_t i) {
  const auto is_next = [&](std::string_view mark) { return text.substr(i).starts_with(mark); };
  for (auto mark = kClosing.begin(); mark != kClosing.end();) {
    mark = std::find_if(kClosing.begin(), kClosing.end(), is_next);
    if (mark != kClosing.end()) i += mark->size();
  }
  return i == text.size() || begins_wide_character(text[i]) || std::any_of(kBetween.begin(), kBetween.end(), is_next);
}

}  // namespace

int Form::add(State state) {
  states_.push_back(state);
  return static_cast<int>(states_.size()) - 1;
}

std::shared_ptr<const Form> Form::quoting(std::string_view source) {
  const auto form = std::make_shared<Form>();
  const std::string text = single_spaced(source);
  if (text.empty()) form->start_ = {kAccept};
  // State i + 1 stands in front of byte i; behind the last there is the end.
  const auto n = static_cast<int>(text.size());
  for (int i = 0; i < n; ++i) {
    const auto at = static_cast<size_t>(i);
    State state;
    state.bytes.set(static_cast<unsigned char>(text[at]));
    state.next = i + 1 < n ? i + 2 : kAccept;
    if (i > 0 && ends_word(text, at)) state.free[0] = kAccept;
    form->add(state);
    if (text[at] != ' ' && begins_word(text, at)) form->start_.push_back(i + 1);
  }
  // A quotation of nothing says nothing: the first byte is read before the end may come.
  for (int& state : form->start_)
    if (state != kAccept && form->states_[static_cast<size_t>(state)].free[0] == kAccept) {
      State first = form->states_[static_cast<size_t>(state)];
      first.free[0] = -1;
      state = form->add(first);
    }
  return form;
}

}  // namespace longleaf
