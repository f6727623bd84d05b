// Text cut into what is set as one, with widths from a table of ours. Any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/worker/flow/flow.h"

namespace longleaf::worker {

// What is set as one: a word, or a character of a script without spaces.
struct Piece {
  std::string text;
  const FlowRun* run;
  float em = 0;  // its width
  bool space_after = false, break_after = false;
  int spaces_before = 0;  // at the beginning of a line
};

// None wider than `most_em`. They point into `runs`.
std::vector<Piece> pieces_of(const std::vector<FlowRun>& runs, float most_em);

// In em, near those of common book faces.
float width_of(char32_t c, bool fixed_pitch);

bool reads_right_to_left(const std::vector<FlowRun>& runs);

}  // namespace longleaf::worker
