// What a card offers for training.
#pragma once

#include "kernels/training.h"

namespace longleaf::kernels::cuda {

const TrainingOps& training_ops();

// Of them, those of attention within sequences.
Status takes_heads(void* self, int head_dim);
Status attend(void* self, const SequenceAttention& args);
Status attend_back(void* self, const SequenceAttentionBack& args);

}  // namespace longleaf::kernels::cuda
