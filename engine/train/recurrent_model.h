// The recurrent memory of HMT (He et al., arXiv 2405.06067, section 3) on a tape: a text is read a segment at a time,
// and behind each stands a memory of it and of what it recalled. Not thread-safe: one thread owns it.
#pragma once

#include <vector>

#include "engine/memory/segments.h"
#include "engine/train/memory_model.h"

namespace longleaf::train {

class RecurrentModel {
 public:
  // All outlive the object. REQUIRES: the memory's method is Recurrent.
  RecurrentModel(const Decoder& decoder, const MemoryModel& memory) : decoder_(decoder), memory_(memory) {}

  // Segments of a document, rising.
  struct Window {
    const Segments* text;
    std::vector<int> segments;
  };
  struct Reading {
    std::vector<Var> memories;  // of every window: (n_segments, d_model); none where it has no segment
    Var rows;                   // in front of every token of the segments, where they are told: (n_tokens, d_model)
    std::vector<int32_t> targets;
    int64_t tokens = 0;  // that were computed
  };
  // What a segment starts from: what its first half recalls of the memories before it, or as training begins the last
  // memory itself.
  enum class From { Recall, Last };
  // Reads windows side by side. Where the tape does not record and nothing is told, only memories are kept.
  Reading read(Tape& tape, const std::vector<Window>& windows, From from, bool tells) const;

  // What a question (1, d_model) recalls of memories, the last of them (settings: recalled), as it stands among
  // embeddings; of none, what a text begins with.
  Var given(Tape& tape, Var question, Var memories) const;

 private:
  struct State;
  Var start_of(Tape& tape, size_t window, size_t step, const State& state) const;
  Var read_next(Tape& tape, size_t step, const std::vector<size_t>& reads, State& state, Reading& reading) const;

  const Decoder& decoder_;
  const MemoryModel& memory_;
};

}  // namespace longleaf::train
