#include "engine/train/training_memory.h"

#include <algorithm>

#include "engine/train/arena.h"

namespace longleaf::train {
namespace {

constexpr double kLossRows = 256;  // whose scores stand there at a time

// Numbers of a layer's matrices.
double layer_weights(const ModelConfig& c) {
  const double d = c.d_model, q = double{1} * c.n_heads * c.head_dim, kv = double{1} * c.n_kv_heads * c.head_dim;
  return d * (2 * q + 2 * kv) + 3 * d * c.d_ff * std::max(1, c.n_experts);
}

}  // namespace

// Values, gradients and the optimiser's two moments, and three of them while they are saved; the weights that are kept
// packed; the largest layer and the output matrix unpacked; of the tokens of a step, the rows between layers with their
// gradients; and of the longest run, one layer's own.
uint64_t training_bytes(const Decoder& decoder, const TrainingNeeds& needs) {
  const ModelConfig& c = decoder.config();
  const double vocabulary = c.n_vocab, d = c.d_model;
  const double numbers = (needs.is_card ? 4.0 : 7.0) * static_cast<double>(needs.parameters) + layer_weights(c) +
                         (d + kLossRows) * vocabulary + static_cast<double>(needs.tokens.all) * 2 * c.n_layers * d +
                         static_cast<double>(needs.tokens.run) * 2 * static_cast<double>(decoder.layer_numbers());
  return static_cast<uint64_t>(4 * numbers) + decoder.packed_bytes() + Arena::kChunkBytes;
}

}  // namespace longleaf::train
