#include "engine/train/training_state.h"

#include <cstring>

#include "engine/base/files.h"
#include "engine/train/training_log.h"

namespace longleaf::train {
namespace {

// What stands in OUT.state in front of the parameters.
struct StateHead {
  char magic[8];
  uint64_t key;
  int64_t scores, no_better;
  double best_loss, best_right, best_leaves, best_tokens, best_questions;  // of no question where there is no best
};
constexpr char kMagic[9] = "LLmemtr4";

StateHead head_of(const std::string& state) {
  StateHead head{};
  if (state.size() >= sizeof head) std::memcpy(&head, state.data(), sizeof head);
  return head;
}

}  // namespace

Result<std::string> TrainingState::read() const {
  auto saved = read_file(state_);
  if (saved.status().code() == Code::NotFound) return std::string();
  LL_RETURN_IF_ERROR(saved.status());
  const StateHead head = head_of(*saved);
  if (std::memcmp(head.magic, kMagic, sizeof head.magic) == 0 && head.key == key_) return saved;
  return Status(Code::Invalid, "The file " + state_.string() +
                                   " belongs to a training with other texts or settings; go on with those, or choose "
                                   "another name for what is trained now");
}

Status TrainingState::check() const {
  std::error_code ignored;
  if (std::filesystem::exists(state_, ignored)) return {};
  const auto there = read_file(log_);  // of a run that ended before it saved anything, it may go
  const bool foreign_log =
      there.status().code() != Code::NotFound && !(there.ok() && there->starts_with(training_log_columns()));
  if (!foreign_log && !std::filesystem::exists(out_, ignored)) return {};
  return Status(Code::Invalid, "The file " + (foreign_log ? log_ : out_).string() +
                                   " is there already, and is not of a training that could go on; choose another "
                                   "name, or move it away");
}

Status TrainingState::take_up(Parameters& parameters, ScoreHistory& history) const {
  LL_RETURN_IF_ERROR(check());
  LL_ASSIGN_OR_RETURN(const std::string state, read());
  if (state.empty()) return write_file(log_, training_log_columns());
  const StateHead head = head_of(state);
  LL_RETURN_IF_ERROR(parameters.restore(std::string_view(state).substr(sizeof head)));
  history = {head.scores, head.no_better, {}};
  if (head.best_questions > 0)
    history.best = MemoryScores{static_cast<size_t>(head.best_questions),
                                head.best_loss,
                                head.best_right,
                                {},
                                head.best_leaves,
                                head.best_tokens};
  auto lines = read_file(log_);
  return write_file(log_,
                    lines.ok() ? training_log_up_to(*lines, parameters.steps()) : std::string(training_log_columns()));
}

Status TrainingState::take_back(Parameters& parameters) const {
  LL_ASSIGN_OR_RETURN(const std::string state, read());
  if (state.empty())
    return Status(Code::NotFound, "The file " + state_.string() + " was taken away while it was needed");
  return parameters.restore(std::string_view(state).substr(sizeof(StateHead)));
}

Status TrainingState::save(const Parameters& parameters, const ScoreHistory& history) const {
  StateHead head{{}, key_, history.scores, history.no_better, 0, 0, 0, 0, 0};
  std::memcpy(head.magic, kMagic, sizeof head.magic);
  if (const auto& best = history.best) {
    head.best_loss = best->answer_loss, head.best_right = best->right, head.best_leaves = best->gold_leaves_survive;
    head.best_tokens = best->memory_tokens, head.best_questions = static_cast<double>(best->questions);
  }
  LL_ASSIGN_OR_RETURN(const std::string state, parameters.state({reinterpret_cast<const char*>(&head), sizeof head}));
  return write_file(state_, state);
}

}  // namespace longleaf::train
