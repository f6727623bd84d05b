// HMT's recurrent memory as training has it.
#pragma once

#include <numeric>
#include <vector>

#include "engine/train/recurrent_model.h"
#include "tests/support/trained_adapter.h"

namespace longleaf::test {

inline MemorySettings recurrent(int segment, int sensory, int recalled = 300, bool scales = true) {
  MemorySettings settings;
  settings.d_routing = 16, settings.query_fraction = 0.5f, settings.scales = scales;
  settings.method = MemoryMethod::Recurrent;
  settings.segment_tokens = segment, settings.sensory_tokens = sensory, settings.recalled = recalled;
  return settings;
}

// Of all segments of a text: (n, d_model).
inline std::vector<float> memories_of(TrainedAdapter& trained, const Segments& text) {
  const train::RecurrentModel model(*trained.decoder, *trained.memory);
  std::vector<int> all(text.size());
  std::iota(all.begin(), all.end(), 0);
  trained.tape.clear();
  const auto reading = model.read(trained.tape, {{&text, all}}, train::RecurrentModel::From::Recall, false);
  return trained.tape.read(reading.memories[0]);
}

}  // namespace longleaf::test
