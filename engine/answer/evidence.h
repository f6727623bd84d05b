// Kinds of evidence, and the planner that chooses one from rates measured on this machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace longleaf {

enum class Evidence { Auto, Exact, LeafKv, MemoryTokens, MemoryAndLeafKv, Hmt, Quote };

// Whether it needs an adapter's memory.
constexpr bool needs_memory(Evidence evidence) {
  return evidence == Evidence::MemoryTokens || evidence == Evidence::MemoryAndLeafKv || evidence == Evidence::Hmt;
}
const char* name_of(Evidence evidence);
Result<Evidence> evidence_named(std::string_view name);

// Measured when the model is loaded and kept up to date by every answer.
struct Rates {
  double prefill_tokens_per_s = 0;
  double load_bytes_per_s = 0;
};

struct PlanInput {
  int prefix_tokens = 0;    // the template in front of the evidence
  int evidence_tokens = 0;  // of the surviving leaves
  int question_tokens = 0;  // question, history and the rest of the template
  uint64_t kv_bytes = 0;    // of prefix and surviving leaves
  bool kv_there = false;    // all of them are in the memory file
  int memory_tokens = 0;    // at most, that learned memories would put there; 0: there are none
};

struct EvidencePlan {
  Evidence evidence = Evidence::Exact;
  double predicted_ms = 0;  // until the first token; only routing by learned memories is counted
  std::string reason;
};

constexpr double kDeadlineMs = 300;      // a wait that a reader does not notice much
constexpr double kLongestWaitMs = 5000;  // that is worth having the document's own words

// Exact when it meets the deadline or is no slower; leaf KV otherwise, where there is some. Memory tokens say less than
// the text: only where both would be a long wait.
EvidencePlan choose_evidence(const PlanInput& input, const Rates& rates);

// What one kind would cost.
double predicted_ms(Evidence evidence, const PlanInput& input, const Rates& rates);

}  // namespace longleaf
