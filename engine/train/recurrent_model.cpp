#include "engine/train/recurrent_model.h"

#include <algorithm>
#include <numeric>

namespace longleaf::train {

Var RecurrentModel::given(Tape& tape, Var question, Var memories) const {
  const MemoryWeights& weights = memory_.weights();
  if (memories.index < 0) return weights.entered(tape, weights.first(tape));
  const int n = tape.rows(memories), cached = std::min(n, weights.settings().recalled);
  std::vector<int32_t> last(static_cast<size_t>(cached));
  std::iota(last.begin(), last.end(), n - cached);
  return weights.entered(tape, weights.recalled(tape, question, tape.gathered(memories, std::move(last))));
}

struct RecurrentModel::State {
  const std::vector<Window>& windows;
  From from;
  bool tells;
  Var summaries;                         // of all segments of all windows
  std::vector<int> first_summary;        // of every window's second segment
  std::vector<std::vector<Var>> behind;  // memories so far, of every window
  std::vector<Var> rows;                 // told so far
};

RecurrentModel::Reading RecurrentModel::read(Tape& tape, const std::vector<Window>& windows, From from,
                                             bool tells) const {
  State state{windows, from, tells, {}, {}, std::vector<std::vector<Var>>(windows.size()), {}};
  Reading reading;
  std::vector<MemoryModel::Text> texts;
  size_t steps = 0;
  for (const Window& window : windows) {
    state.first_summary.push_back(static_cast<int>(texts.size()));
    steps = std::max(steps, window.segments.size());
    for (size_t i = 1; i < window.segments.size(); ++i)  // the first has nothing to recall
      texts.push_back({window.text->summarized(static_cast<size_t>(window.segments[i])), -1});
  }
  if (from == From::Recall && !texts.empty()) {
    state.summaries = memory_.read(tape, texts);
    for (const auto& text : texts) reading.tokens += static_cast<int64_t>(text.tokens.size()) + 2;
  }
  for (size_t step = 0; step < steps && tape.status().ok(); ++step) {
    std::vector<size_t> reads;  // windows that have a segment left
    for (size_t w = 0; w < windows.size(); ++w)
      if (windows[w].segments.size() > step) reads.push_back(w);
    const auto next = [&] { return read_next(tape, step, reads, state, reading); };
    const Var ends =
        tape.records() || tells ? next() : tape.kept(static_cast<int>(reads.size()), decoder_.config().d_model, next);
    for (size_t i = 0; i < reads.size(); ++i)
      state.behind[reads[i]].push_back(tape.gathered(ends, {static_cast<int32_t>(i)}));
  }
  for (const auto& memories : state.behind)
    reading.memories.push_back(memories.empty() ? Var{} : tape.stacked(memories));
  if (tells) reading.rows = tape.stacked(state.rows);
  return reading;
}

// What stands at both ends of a segment (equation 3).
Var RecurrentModel::start_of(Tape& tape, size_t window, size_t step, const State& state) const {
  const MemoryWeights& weights = memory_.weights();
  if (step == 0) return weights.first(tape);
  const auto& behind = state.behind[window];
  if (state.from == From::Last) return behind.back();
  const size_t seen = std::min(behind.size(), static_cast<size_t>(weights.settings().recalled));
  const Var summary =
      tape.gathered(state.summaries, {static_cast<int32_t>(state.first_summary[window] + static_cast<int>(step) - 1)});
  return weights.recalled(tape, summary, tape.stacked(std::span(behind).last(seen)));
}

// Equations 4 and 5 for one segment of some windows, [P; sensory; segment; P]: the states at their ends.
Var RecurrentModel::read_next(Tape& tape, size_t step, const std::vector<size_t>& reads, State& state,
                              Reading& reading) const {
  const MemoryWeights& weights = memory_.weights();
  std::vector<Var> starts;
  std::vector<TokenId> tokens;
  std::vector<int32_t> rows, ends, told;  // rows: of the starts, and behind them of all tokens
  Batch batch;
  const auto n = static_cast<int32_t>(reads.size());
  for (const size_t w : reads) {
    const auto start = static_cast<int32_t>(starts.size());
    starts.push_back(start_of(tape, w, step, state));
    const Window& window = state.windows[w];
    const auto number = static_cast<size_t>(window.segments[step]);
    const auto segment = window.text->segment(number);
    const auto text = window.text->with_front(number, weights.settings().sensory_tokens);
    const auto first_told = static_cast<int32_t>(rows.size() + text.size() - segment.size());
    rows.push_back(start);
    for (size_t i = 0; i < text.size(); ++i) rows.push_back(n + static_cast<int32_t>(tokens.size() + i));
    rows.push_back(start);
    tokens.insert(tokens.end(), text.begin(), text.end());
    ends.push_back(static_cast<int32_t>(rows.size()) - 1);
    batch.add(static_cast<int>(text.size()) + 2);
    if (!state.tells) continue;
    for (size_t i = 0; i < segment.size(); ++i) told.push_back(first_told + static_cast<int32_t>(i));
    reading.targets.insert(reading.targets.end(), segment.begin(), segment.end());
  }
  const Var table[] = {weights.entered(tape, tape.stacked(starts)), decoder_.embed(tape, tokens)};
  const Var hidden = decoder_.run(tape, tape.gathered(tape.stacked(table), std::move(rows)), batch);
  if (state.tells) state.rows.push_back(tape.gathered(hidden, std::move(told)));
  reading.tokens += batch.n_tokens();
  return tape.gathered(hidden, std::move(ends));
}

}  // namespace longleaf::train
