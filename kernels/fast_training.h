// The fast CPU versions of the operations of training, once per instruction set. Contracts: training.h.
// Work is cut into pieces by the caller; pieces are independent and may run on different threads, and how it is cut
// changes no bit.
#pragma once

#include "kernels/training.h"

namespace longleaf::kernels {

// A product's blocks, which stay in the second-level cache.
constexpr int kGemmRows = 120, kGemmCols = 512, kGemmDepth = 256;
constexpr size_t kGemmScratch = static_cast<size_t>(kGemmRows + kGemmCols) * kGemmDepth;  // floats, the thread's own

constexpr int kAttendRows = 60;  // queries that are computed together

// Floats of scratch for queries of a sequence of `n_keys`.
static inline size_t sequence_scratch(int n_keys) {
  return kGemmScratch + 2 * static_cast<size_t>(kAttendRows) * static_cast<size_t>(n_keys);
}

struct FastTraining {
  // Rows [row, end_row) and columns [col, end_col) of the product.
  void (*gemm)(const GemmArgs& args, int row, int end_row, int col, int end_col, float* scratch);
  // Rows [first, last) of dx, and of `inverses` (rows): 1 / sqrt(mean(x²) + eps).
  void (*rms_norm_back)(const NormBack& args, int first, int last, float* inverses);
  // Columns [first, last) of dweight.
  void (*norm_weight_back)(const NormBack& args, const float* inverses, int first, int last);
  void (*gate_back)(const GateBack& args, int64_t first, int64_t last);
  // Queries [first, last) of a sequence, at most kAttendRows.
  void (*attend_sequence)(const SequenceAttention& args, const Sequence& sequence, int head, int first, int last,
                          float* scratch);
  // All queries of the heads that share a KV head.
  void (*attend_sequence_back)(const SequenceAttentionBack& args, const Sequence& sequence, int kv_head,
                               float* scratch);
  void (*cross_entropy)(const CrossEntropy& args, int first, int last);
  void (*adam)(const AdamStep& step, int64_t first, int64_t last);
  double (*squares)(const float* x, int64_t first, int64_t last);
};

#define LONGLEAF_FAST_TRAINING(isa)                                                                                    \
  namespace isa {                                                                                                      \
  void gemm(const GemmArgs& args, int row, int end_row, int col, int end_col, float* scratch);                         \
  void attend_sequence(const SequenceAttention& args, const Sequence& sequence, int head, int first, int last,         \
                       float* scratch);                                                                                \
  void attend_sequence_back(const SequenceAttentionBack& args, const Sequence& sequence, int kv_head, float* scratch); \
  const FastTraining& fast_training();                                                                                 \
  }
LONGLEAF_FAST_TRAINING(baseline)
#ifdef LONGLEAF_X86
LONGLEAF_FAST_TRAINING(sse42)
LONGLEAF_FAST_TRAINING(avx2)
LONGLEAF_FAST_TRAINING(avxvnni)
LONGLEAF_FAST_TRAINING(avx512)
#endif
#ifdef LONGLEAF_ARM
LONGLEAF_FAST_TRAINING(neondot)
#endif
#undef LONGLEAF_FAST_TRAINING

}  // namespace longleaf::kernels
