#include "engine/answer/evidence.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace longleaf {
namespace {

struct Name {
  Evidence evidence;
  const char* text;
};
constexpr std::array kNames = {Name{Evidence::Auto, "auto"},
                               Name{Evidence::Exact, "exact"},
                               Name{Evidence::LeafKv, "leaf_kv"},
                               Name{Evidence::MemoryTokens, "memory_tokens"},
                               Name{Evidence::MemoryAndLeafKv, "memory_tokens+leaf_kv"},
                               Name{Evidence::Hmt, "hmt"},
                               Name{Evidence::Quote, "quote"}};

std::string milliseconds(double ms) { return std::to_string(std::llround(ms)) + " ms"; }

}  // namespace

const char* name_of(Evidence evidence) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const Name& n) { return n.evidence == evidence; })->text;
}

Result<Evidence> evidence_named(std::string_view name) {
  for (const Name& n : kNames)
    if (name == n.text) return n.evidence;
  return Status(Code::Invalid,
                "There is no evidence “" + std::string(name) +
                    "”; choose auto, exact, leaf_kv, memory_tokens, memory_tokens+leaf_kv, hmt or quote");
}

double predicted_ms(Evidence evidence, const PlanInput& input, const Rates& rates) {
  const bool loads = evidence == Evidence::LeafKv || evidence == Evidence::MemoryAndLeafKv;
  double tokens = input.question_tokens;
  if (!loads) tokens += input.prefix_tokens;
  if (evidence == Evidence::Exact) tokens += input.evidence_tokens;
  if (needs_memory(evidence)) tokens += input.memory_tokens + input.question_tokens;  // which is read to route it, too
  const double compute = 1000 * tokens / std::max(rates.prefill_tokens_per_s, 1e-6);
  const double load = loads ? 1000 * static_cast<double>(input.kv_bytes) / std::max(rates.load_bytes_per_s, 1.0) : 0;
  return compute + load;
}

EvidencePlan choose_evidence(const PlanInput& input, const Rates& rates) {
  const double exact = predicted_ms(Evidence::Exact, input, rates);
  const double reuse = input.kv_there ? predicted_ms(Evidence::LeafKv, input, rates) : INFINITY;
  if (exact <= kDeadlineMs && input.kv_there)
    return {Evidence::Exact, exact, "reading the text again takes only " + milliseconds(exact)};
  const double memory = input.memory_tokens > 0 ? predicted_ms(Evidence::MemoryTokens, input, rates) : INFINITY;
  const double text = std::min(exact, reuse);
  if (text > kLongestWaitMs && memory < text)
    return {Evidence::MemoryTokens, memory, "the text itself would take " + milliseconds(text)};
  if (!input.kv_there) return {Evidence::Exact, exact, "the document is not encoded for this model yet"};
  if (exact <= reuse) return {Evidence::Exact, exact, "reading the text again is no slower than loading its memory"};
  return {Evidence::LeafKv, reuse, "reading the text again would take " + milliseconds(exact)};
}

}  // namespace longleaf
