// The fast CPU versions, once per instruction set. Contracts: backend.h and span_attention.h.
// Work is cut into pieces by the caller; pieces are independent and may run on different threads.
#pragma once

#include "kernels/backend.h"

namespace longleaf::kernels {

struct FastOps {
  const char* isa;  // for people
  // Rows [first, last) of the product. scratch: f32 (last - first, w.cols), the thread's own.
  void (*matmul_rows)(const Weight& w, const float* bias, const float* x, int n_tokens, float* out, int first, int last,
                      float* scratch);
  // Query tokens [first, last) of the heads of KV head `kv_head`. scratch: attention_scratch() floats, the thread's
  // own.
  void (*attend)(const SpanAttentionArgs& args, int kv_head, int first, int last, float* scratch);
  void (*silu_mul)(float* gate, const float* up, int64_t first, int64_t last);
};

// Floats of scratch for `attend` over `tokens` query tokens.
inline size_t attention_scratch(const SpanAttentionArgs& args, int tokens) {
  const auto rows = static_cast<size_t>(tokens) * static_cast<size_t>(args.n_heads / args.kv.n_kv_heads);
  const auto d = static_cast<size_t>(args.kv.head_dim);
  return rows * (2 * d + 2) + 2 * kPageTokens * d + kPageTokens;  // queries, sums, (max, total); K, V; scores
}

namespace baseline {
const FastOps& fast_ops();
}
#ifdef LONGLEAF_X86
namespace avx2 {
const FastOps& fast_ops();
}
namespace avx512 {
const FastOps& fast_ops();
}
#endif

}  // namespace longleaf::kernels
