// What a training is asked to do.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "engine/adapter/adapter_file.h"
#include "engine/train/decoder.h"
#include "engine/train/trainer.h"
#include "kernels/cuda/options.h"

namespace longleaf::train {

struct TrainingOptions {
  std::filesystem::path model, out;
  std::filesystem::path begin;  // an adapter that it begins with; its shape replaces lora and memory. Empty: none
  std::string device = "auto";  // see DeviceRequest: one card, or the processor
  int n_threads = 0;
  size_t memory_limit_bytes = 0;     // of that device; 0: what there is
  kernels::cuda::DeviceOptions gpu;  // where it is not the system's
  LoraSettings lora{.rank = 8, .alpha = 32};
  MemorySettings memory;
  // Instead of what `memory`, or the adapter that it begins with, says:
  std::optional<int> piece_tokens, children;
  MemoryTrainingSettings steps;
  double held_out = 0.1;  // share of the questions that scores are measured with; they are not trained on
  int score_every = 50;   // steps
  int most_scored = 50;   // questions at a time
  int patience = 5;       // scores in a row that are no better than the best, after which training ends
};

// `steps` in all; a share of them, or all where there are no questions, on text alone. The rate rises over the first
// few and falls from there, on text and again on questions.
void set_steps(TrainingOptions& options, int64_t steps, double corpus_share, bool has_questions);

// Every setting that decides what is learnt, as bytes.
std::string described(const TrainingOptions& options);

}  // namespace longleaf::train
