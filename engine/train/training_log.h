// The log of a training: a line per step, as comma-separated values. Pure functions: any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/train/trainer.h"

namespace longleaf::train {

struct LoggedStep {
  StepReport report;  // without its tokens
  std::optional<MemoryScores> scores;
};

// The first line, which says what the columns are.
std::string_view training_log_columns();
std::string training_log_line(const StepReport& report, const std::optional<MemoryScores>& scores);
// A log of the lines up to a step, without damaged ones: what a run wrote behind the state that is taken up is not true
// any more.
std::string training_log_up_to(std::string_view log, int64_t step);
// Lines that are cut or damaged are left out.
std::vector<LoggedStep> parse_training_log(std::string_view log);

}  // namespace longleaf::train
