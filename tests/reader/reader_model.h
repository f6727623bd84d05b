// The small language model that reads synthetic manuals: its shape, and its file.
#pragma once

#include <cstdint>
#include <string>

#include "engine/train/parameters.h"

namespace longleaf::reader {

struct ReaderShape {
  int layers = 4, d_model = 160, heads = 5, d_ff = 384, context = 2048;
};

// A model that knows nothing yet, as the bytes of a GGUF file in F32.
std::string new_model(const ReaderShape& shape, uint64_t seed);
// The same file with the weights that training left, matrices in F16.
Result<std::string> trained_model(const ReaderShape& shape, const train::Parameters& parameters);

}  // namespace longleaf::reader
