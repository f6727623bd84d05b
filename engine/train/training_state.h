// What a training leaves beside its adapter, so that it goes on where it was: OUT.state and OUT.csv. Calls block.
#pragma once

#include <filesystem>
#include <optional>

#include "engine/train/parameters.h"
#include "engine/train/trainer.h"

namespace longleaf::train {

// Scores so far, as they decide when training ends.
struct ScoreHistory {
  int64_t scores = 0, no_better = 0;  // scores taken, and those since the best
  std::optional<MemoryScores> best;   // without its levels, which are not saved
};

class TrainingState {
 public:
  // out: the adapter. key: fingerprint of everything that decides what is learnt.
  TrainingState(const std::filesystem::path& out, uint64_t key)
      : out_(out), state_(out.string() + ".state"), log_(out.string() + ".csv"), key_(key) {}

  const std::filesystem::path& log() const { return log_; }
  // Returns Invalid where OUT, or a log that is none, is there without a state: not of a training that could go on.
  Status check() const;
  // What an earlier run left, or the beginning of a log. Returns what check() returns, Invalid where the state is
  // another training's, Corrupt, Io.
  Status take_up(Parameters& parameters, ScoreHistory& history) const;
  // The parameters alone, as they were saved last. Returns NotFound where the state was taken away meanwhile.
  Status take_back(Parameters& parameters) const;
  Status save(const Parameters& parameters, const ScoreHistory& history) const;

 private:
  Result<std::string> read() const;  // empty where there is none

  std::filesystem::path out_, state_, log_;
  uint64_t key_;
};

}  // namespace longleaf::train
