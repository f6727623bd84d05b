// Training a memory as a user does it: documents and questions in, an adapter out. What was done is kept in OUT.state,
// every few minutes at least, so a run that was stopped or killed goes on where it was, to the same numbers on a
// processor of the same instruction set or a card of the same kind; losses and scores are in OUT.csv. Not thread-safe:
// one thread owns it. Calls block, and look at their stop tokens once per layer at least.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/adapter/adapter_file.h"
#include "engine/compute_device.h"
#include "engine/train/memory_model.h"
#include "engine/train/training_log.h"
#include "engine/train/training_options.h"
#include "engine/train/training_set.h"
#include "engine/train/training_state.h"

namespace longleaf::train {

struct TrainingPlan {
  size_t documents = 0, leaves = 0, questions = 0, held_out = 0;
  size_t left_out = 0;      // questions without words or an answer, or too long for the model
  int64_t tokens = 0;       // of the documents
  int64_t parameters = 0;   // that are trained
  int64_t step_tokens = 0;  // that a step computes at most
  uint64_t bytes = 0;       // of the device's memory that training will take, beside the model's file
  MemoryMethod method = MemoryMethod::Tree;
  std::string device;       // that trains, for people
  std::string device_note;  // one sentence, where “auto” found a card that cannot; else empty
};

struct TrainingProgress {
  StepReport step;
  int64_t total_steps = 0;
  double seconds = 0;       // since run() began
  double seconds_left = 0;  // as it goes now
  std::optional<MemoryScores> scores;
};

struct TrainingResult {
  int64_t steps = 0;
  bool stopped = false;  // by the caller
  bool early = false;    // scores had stopped to get better
  std::optional<MemoryScores> best;
  uint64_t peak_bytes = 0;  // that training took
};

class TrainingRun {
 public:
  // Reads the model and the texts, and what an earlier run left. Where "auto" finds a card without room, or one that
  // cannot train the model, the processor trains. Returns what reading a model and opening a device return; NoMemory
  // where training would take more than there is; Invalid for texts that nothing can be learnt from, and where OUT or
  // what stands beside it is not of this training; Cancelled.
  static Result<std::unique_ptr<TrainingRun>> prepare(const TrainingOptions& options, const TrainingInput& input,
                                                      std::stop_token stop = {});
  ~TrainingRun();
  // What prepare() would refuse of these options and documents whatever the questions are, before any are written: all
  // but a state of another training. Reads as much, and writes nothing.
  static Status check(const TrainingOptions& options, const TrainingInput& input, std::stop_token stop = {});

  const TrainingPlan& plan() const { return plan_; }
  // About how many seconds the steps that are left take, without scores; 0 where none is. A step or two of each kind
  // are computed for it, and nothing is learnt from them. Returns NoMemory, Cancelled.
  Result<double> estimate(std::stop_token stop = {});
  int64_t steps_done() const;
  // Of all steps so far, those of earlier runs too. Returns what reading the file returns.
  Result<std::vector<LoggedStep>> log() const;

  // A stop ends the step or score that is computed; the next call, or another process, computes it again and goes on.
  // Returns NoMemory, Invalid where gradients are no numbers any more, Io where OUT cannot be written; what was saved
  // last stays.
  Result<TrainingResult> run(const std::function<void(const TrainingProgress&)>& on_progress, std::stop_token stop);

 private:
  TrainingRun() = default;
  static Result<std::unique_ptr<TrainingRun>> open(const TrainingOptions& options, const TrainingInput& input,
                                                   std::stop_token stop);
  static Result<std::unique_ptr<TrainingRun>> open_on_device(const TrainingOptions& options, const TrainingInput& input,
                                                             std::stop_token stop);
  Status open_device();
  Status open_model();
  Result<AdapterContents> beginning();
  Status take_texts(const TrainingInput& input, std::stop_token stop);
  void state_needs();
  struct Room {
    uint64_t bytes;    // 0: not known
    std::string text;  // "this machine has 16000 MiB"
  };
  Room room() const;
  Status check_weights() const;
  Status check_memory() const;
  bool is_due(int64_t step) const;
  Status advance(TrainingProgress& progress, const std::stop_token& stop);
  Result<bool> score_step(TrainingProgress& progress, std::stop_token stop);
  bool is_over() const { return history_.no_better >= options_.patience; }
  Result<double> seconds_of(int64_t step, const std::stop_token& stop);
  Status save();
  Status save_adapter_file();

  TrainingOptions options_;
  TrainingPlan plan_;
  kernels::BackendPtr backend_;
  bool is_card_ = false;
  std::shared_ptr<const ModelFile> file_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  ChatStyle chat_;
  uint64_t begun_with_ = 0;  // a fingerprint; 0: nothing
  std::unique_ptr<Parameters> parameters_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<MemoryModel> memory_;
  std::unique_ptr<Trainer> trainer_;
  TrainingSet set_;
  uint64_t model_ = 0;  // its fingerprint
  std::unique_ptr<TrainingState> state_;
  ScoreHistory history_;
  std::chrono::steady_clock::time_point saved_;
  int64_t saved_step_ = -1;
};

}  // namespace longleaf::train
