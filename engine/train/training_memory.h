// What a training takes of a device's memory. Pure functions: any thread.
#pragma once

#include "engine/train/trainer.h"

namespace longleaf::train {

struct TrainingNeeds {
  int64_t parameters = 0;  // numbers that are trained
  StepTokens tokens;
  bool is_card = false;  // what is saved is then gathered in another memory
};

// At most, but for what the arena loses at the ends of its chunks.
uint64_t training_bytes(const Decoder& decoder, const TrainingNeeds& needs);

}  // namespace longleaf::train
