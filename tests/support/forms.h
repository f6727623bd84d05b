// Whether a text has a form, by its automaton alone.
#pragma once

#include <set>
#include <string_view>

#include "engine/generate/form.h"

namespace longleaf::test {

inline void reach(const Form& form, int state, std::set<int>& reached) {
  if (state < 0 || !reached.insert(state).second) return;
  for (const int free : form.states()[static_cast<size_t>(state)].free) reach(form, free, reached);
}

inline bool fits(const Form& form, std::string_view text) {
  std::set<int> now;
  for (const int state : form.start()) reach(form, state, now);
  for (const char c : text) {
    std::set<int> next;
    for (const int state : now) {
      const Form::State& s = form.states()[static_cast<size_t>(state)];
      if (s.bytes[static_cast<unsigned char>(c)]) reach(form, s.next, next);
    }
    now = std::move(next);
  }
  return now.count(Form::kAccept) > 0;
}

}  // namespace longleaf::test
