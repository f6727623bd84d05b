#include "engine/generate/form.h"

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

bool begins_word(std::string_view text, size_t i) {
  return i == 0 || text[i - 1] == ' ' || begins_wide_character(text[i]);
}

bool ends_word(std::string_view text, size_t i) {
  constexpr std::string_view kMarks = ".,;:!?)]\"'";
  while (i < text.size() && kMarks.find(text[i]) != std::string_view::npos) ++i;
  return i == text.size() || text[i] == ' ' || begins_wide_character(text[i]);
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
