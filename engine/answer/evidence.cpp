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
constexpr std::array kNames = {Name{Evidence::Auto, "auto"}, Name{Evidence::Exact, "exact"},
                               Name{Evidence::LeafKv, "leaf_kv"}, Name{Evidence::MemoryTokens, "memory_tokens"},
                               Name{Evidence::Quote, "quote"}};

std::string milliseconds(double ms) { return std::to_string(std::llround(ms)) + " ms"; }

}  // namespace

const char* name_of(Evidence evidence) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const Name& n) { return n.evidence == evidence; })->text;
}

Result<Evidence> evidence_named(std::string_view name) {
  for (const Name& n : kNames)
    if (name == n.text) return n.evidence;
  return Status(Code::Invalid, "There is no evidence “" + std::string(name) +
                                   "”; choose auto, exact, leaf_kv, memory_tokens or quote");
}

double predicted_ms(Evidence evidence, const PlanInput& input, const Rates& rates) {
  const double tokens = evidence == Evidence::LeafKv
                            ? input.question_tokens
                            : input.prefix_tokens + input.evidence_tokens + input.question_tokens;
  const double compute = 1000 * tokens / std::max(rates.prefill_tokens_per_s, 1e-6);
  const double load = evidence == Evidence::LeafKv
                          ? 1000 * static_cast<double>(input.kv_bytes) / std::max(rates.load_bytes_per_s, 1.0)
                          : 0;
  return compute + load;
}

EvidencePlan choose_evidence(const PlanInput& input, const Rates& rates) {
  const double exact = predicted_ms(Evidence::Exact, input, rates);
  if (!input.kv_there) return {Evidence::Exact, exact, "the document is not encoded for this model yet"};
  const double reuse = predicted_ms(Evidence::LeafKv, input, rates);
  if (exact <= kDeadlineMs) return {Evidence::Exact, exact, "reading the text again takes only " + milliseconds(exact)};
  if (exact <= reuse) return {Evidence::Exact, exact, "reading the text again is no slower than loading its memory"};
  return {Evidence::LeafKv, reuse, "reading the text again would take " + milliseconds(exact)};
}

}  // namespace longleaf
