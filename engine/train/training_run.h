// Training a memory as a user does it: documents and questions in, an adapter out. What was done is kept in OUT.state,
// every few minutes at least, so a run that was stopped or killed goes on where it was, to the same numbers on a
// processor of the same instruction set or a card of the same kind; losses and scores are in OUT.csv. Not thread-safe:
// one thread owns it. run() blocks, and looks at its stop token between steps.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "engine/adapter/adapter_file.h"
#include "engine/compute_device.h"
#include "engine/generate/chat_template.h"
#include "engine/memory/document.h"
#include "engine/train/memory_model.h"
#include "engine/train/trainer.h"
#include "engine/train/training_log.h"

namespace longleaf::train {

struct TrainingInput {
  struct Question {
    size_t document = 0;
    std::string question, answer;
    std::vector<int64_t> leaves;  // nodes that hold the answer; may be empty
  };
  std::vector<DocumentInput> documents;
  std::vector<Question> questions;
};

struct TrainingOptions {
  std::filesystem::path model, out;
  std::filesystem::path begin;  // an adapter that it begins with; its shape replaces lora and memory. Empty: none
  std::string device = "auto";  // see DeviceRequest: one card, or the processor
  int n_threads = 0;
  size_t memory_limit_bytes = 0;     // of that device; 0: what there is
  kernels::cuda::DeviceOptions gpu;  // where it is not the system's
  LoraSettings lora{.rank = 8, .alpha = 32};
  MemorySettings memory;
  MemoryTrainingSettings steps;
  double held_out = 0.1;  // share of the questions that scores are measured with; they are not trained on
  int score_every = 50;   // steps
  int most_scored = 50;   // questions at a time
  int patience = 5;       // scores in a row that are no better than the best, after which training ends
};

// `steps` in all; a share of them, or all where there are no questions, on text alone. The rate rises over the first
// few and falls from there, on text and again on questions.
void set_steps(TrainingOptions& options, int64_t steps, double corpus_share, bool has_questions);

struct TrainingPlan {
  size_t documents = 0, leaves = 0, questions = 0, held_out = 0;
  size_t left_out = 0;      // questions without words or an answer, or too long for the model
  int64_t tokens = 0;       // of the documents
  int64_t parameters = 0;   // that are trained
  int64_t step_tokens = 0;  // that a step computes at most
  uint64_t bytes = 0;       // of the device's memory that training will take, beside the model's file
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

  const TrainingPlan& plan() const { return plan_; }
  int64_t steps_done() const;
  // Of all steps so far, those of earlier runs too. Returns what reading the file returns.
  Result<std::vector<LoggedStep>> log() const;

  // Behind a stop it may be called again, and goes on. Returns NoMemory, Invalid where gradients are no numbers any
  // more, Io where OUT cannot be written; what was saved last stays.
  Result<TrainingResult> run(const std::function<void(const TrainingProgress&)>& on_progress, std::stop_token stop);

 private:
  TrainingRun() = default;
  static Result<std::unique_ptr<TrainingRun>> prepare_on_device(const TrainingOptions& options,
                                                                const TrainingInput& input, std::stop_token stop);
  Status open_device();
  Status open_model();
  Result<AdapterContents> beginning();
  Status take_texts(const TrainingInput& input, const std::stop_token& stop);
  TrainingDocument document(const DocumentInput& from, std::vector<int64_t>& keys) const;
  Status take_questions(const TrainingInput& input, const std::vector<std::vector<int64_t>>& keys);
  void state_needs();
  struct Room {
    uint64_t bytes;    // 0: not known
    std::string text;  // "this machine has 16000 MiB"
  };
  Room room() const;
  Status check_weights() const;
  Status check_memory() const;
  Status take_up();
  Result<bool> score_step(TrainingProgress& progress);
  Status save_state();
  Status save_adapter_file();
  Result<MemoryScores> score();
  Status note(const TrainingProgress& progress);

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
  std::vector<TrainingDocument> documents_;
  std::vector<TrainingQuestion> questions_, held_out_;
  uint64_t model_ = 0, key_ = 0;  // fingerprints: of the model, and of everything that decides what is learnt
  std::optional<MemoryScores> best_;
  int64_t scores_ = 0, no_better_ = 0;  // scores taken, and those since the best
};

}  // namespace longleaf::train
