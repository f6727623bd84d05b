#include "ingest/worker/flow/pieces.h"

#include <string_view>

#include "ingest/layout/letters.h"

namespace longleaf::worker {

float width_of(char32_t c, bool fixed_pitch) {
  if (c >= 0x1100 && (c <= 0x115F || (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xAC00 && c <= 0xD7A3) ||
                      (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFF00 && c <= 0xFF60) || c >= 0x1F300))
    return 1;
  if (fixed_pitch) return 0.6f;
  if ((c >= 0x300 && c <= 0x36F) || (c >= 0x591 && c <= 0x5C7) || (c >= 0x64B && c <= 0x65F)) return 0;  // marks
  if (c >= 0x80) return 0.55f;
  constexpr std::string_view narrow = "ijl.,:;'!|I", slim = "frt()[]/-\"", wide = "mwMW@%";
  const auto in = [&](std::string_view set) { return set.find(static_cast<char>(c)) != std::string_view::npos; };
  return in(narrow)             ? 0.28f
         : in(slim)             ? 0.35f
         : in(wide)             ? 0.85f
         : c == ' '             ? 0.28f
         : c >= 'A' && c <= 'Z' ? 0.68f
                                : 0.53f;
}

namespace {

constexpr size_t kLongestPiece = 1000;  // bytes: marks without width could pile up for ever

bool is_right_to_left(char32_t c) { return (c >= 0x590 && c <= 0x8FF) || (c >= 0xFB1D && c <= 0xFEFC); }

// The character at `at`, which is moved behind it; U+FFFD for anything that is none.
char32_t next_character(std::string_view text, size_t& at) {
  const auto first = static_cast<unsigned char>(text[at++]);
  const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
  if (first < 0x80) return first;
  char32_t c = more == 3 ? first & 7u : more == 2 ? first & 15u : first & 31u;
  if (more == 0) return 0xFFFD;
  for (int i = 0; i < more; ++i) {
    if (at >= text.size() || (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80) return 0xFFFD;
    c = c << 6 | (static_cast<unsigned char>(text[at++]) & 63u);
  }
  return c;
}

}  // namespace

std::vector<Piece> pieces_of(const std::vector<FlowRun>& runs, float most_em) {
  std::vector<Piece> pieces;
  bool open = false;  // whether the next character goes on with the last piece
  int spaces = 0;     // since the line began
  for (const FlowRun& run : runs) {
    open = false;
    for (size_t at = 0; at < run.text.size();) {
      const size_t begin = at;
      const char32_t c = next_character(run.text, at);
      if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
        open = false;
        spaces = c == '\n' ? 0 : spaces + (c == '\t' ? 4 : c == ' ' ? 1 : 0);
        if (!pieces.empty() && c == '\n') pieces.back().break_after = true;
        if (!pieces.empty() && c != '\r') pieces.back().space_after = true;
        continue;
      }
      const auto shown = spelled_out(c, std::string_view(run.text).substr(begin, at - begin));
      if (c < 0x20 || shown.empty()) continue;
      const float em = width_of(c, run.fixed_pitch) * (run.bold && !run.fixed_pitch ? 1.06f : 1.0f);
      if (!open || is_written_without_spaces(c) || pieces.back().em + em > most_em ||
          pieces.back().text.size() >= kLongestPiece) {
        const bool begins_line = pieces.empty() || pieces.back().break_after;
        pieces.push_back({{}, &run, 0, false, false, begins_line ? spaces : 0});
      }
      pieces.back().text += shown;
      pieces.back().em += em;
      open = !is_written_without_spaces(c);
    }
  }
  return pieces;
}

bool reads_right_to_left(const std::vector<FlowRun>& runs) {
  size_t right = 0, all = 0;
  for (const FlowRun& run : runs)
    for (size_t at = 0; at < run.text.size();) {
      const char32_t c = next_character(run.text, at);
      right += is_right_to_left(c) ? 1 : 0;
      all += c > 0x40 ? 1 : 0;
    }
  return right * 2 > all;
}

}  // namespace longleaf::worker
