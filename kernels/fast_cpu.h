// The fast CPU versions, once per instruction set. Contracts: backend.h and span_attention.h.
// Work is cut into pieces by the caller; pieces are independent and may run on different threads.
#pragma once

#include "kernels/backend.h"

namespace longleaf::kernels {

// A matrix product's input, in tiles of tokens: within a tile, block by block (or column by column), token by token.
// Quantized: int8 codes in blocks of kBlockCols, x ≈ scale * code, and what minima need. Or plain floats, or rounded to
// bfloat16.
struct Activations {
  int8_t* codes = nullptr;       // n_tokens * cols
  float* scales = nullptr;       // n_tokens * cols / 32
  int32_t* sums = nullptr;       // likewise: minus the sum of the block's codes
  float* minima = nullptr;       // likewise: the sums times the scales
  int32_t* half_sums = nullptr;  // n_tokens * cols / 16: the same for half blocks
  float* half_minima = nullptr;
  float* floats = nullptr;      // n_tokens * cols
  uint32_t* bfloats = nullptr;  // likewise, rounded: floats, or pairs of bfloat16 (fast_bfloat.cpp)
};

struct FastTraining;  // fast_training.h

struct FastOps {
  const char* isa;  // for people
  // Turns tokens [first, last) of x (n_tokens, cols) into `to`. REQUIRES: first is a multiple of tile_tokens, and
  // last is one or the number of tokens.
  int tile_tokens;
  void (*prepare_activations)(const float* x, int cols, int first, int last, bool quantized, const Activations& to);
  // … into `to`, rounded; at most n_tokens * cols words.
  void (*prepare_bfloat)(const float* x, int cols, int first, int last, uint32_t* to);
  // Rows of panels [begin, end) of the product; see panels.h. scratch: matmul_scratch() bytes, the thread's own.
  void (*matmul_panels)(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out,
                        int begin, int end, uint8_t* scratch);
  // The same for bfloat16 weights.
  void (*matmul_bfloat)(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out,
                        int begin, int end);
  // Query tokens [first, last) of the heads of KV head `kv_head`. scratch: attention_scratch() floats, the thread's
  // own.
  void (*attend)(const SpanAttentionArgs& args, int kv_head, int first, int last, float* scratch);
  void (*rms_norm)(const float* x, const float* weight, float eps, int rows, int cols, float* out);
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, int rows, int cols, float* out);
  void (*gate)(Activation activation, float* gate, const float* up, int64_t first, int64_t last);
  void (*add)(float* x, const float* y, float scale, int64_t first, int64_t last);
  const FastTraining* training;
};

// Two panels of one matrix, unpacked: 32 columns take a byte per code, and two scales and two minima per row.
constexpr int kExpandedPanelBlock = 32 * 16 + 4 * 16 * 4;
static inline size_t matmul_scratch(int cols) { return 2 * static_cast<size_t>(cols / 32) * kExpandedPanelBlock; }

// Query tokens whose heads fill the registers of an attention tile.
static inline int attention_tile(const SpanAttentionArgs& args) {
  constexpr int kRows = 64;
  const int heads = args.n_heads / args.kv.n_kv_heads;
  return heads >= kRows ? 1 : kRows / heads;
}

// Floats of scratch for `attend` over `tokens` query tokens: queries and sums, four numbers per row, scores; K, V.
static inline size_t attention_scratch(const SpanAttentionArgs& args, int tokens) {
  constexpr size_t kWidest = 16;
  const auto d = static_cast<size_t>(args.kv.head_dim);
  const size_t rows = static_cast<size_t>(tokens) * static_cast<size_t>(args.n_heads / args.kv.n_kv_heads);
  return (rows + kWidest) * (2 * d + 4 + kPageTokens) + 2 * kPageTokens * d;
}

#define LONGLEAF_BFLOAT_OPS(isa)                                                                               \
  namespace isa {                                                                                              \
  void prepare_bfloat(const float* x, int cols, int first, int last, uint32_t* to);                            \
  void matmul_bfloat(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out, \
                     int begin, int end);                                                                      \
  }
#define LONGLEAF_FAST_OPS(isa)                                                                                    \
  LONGLEAF_BFLOAT_OPS(isa)                                                                                        \
  namespace isa {                                                                                                 \
  void prepare_activations(const float* x, int cols, int first, int last, bool quantized, const Activations& to); \
  void matmul_panels(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out,    \
                     int begin, int end, uint8_t* scratch);                                                       \
  extern const int kTileTokens;                                                                                   \
  void attend(const SpanAttentionArgs& args, int kv_head, int first, int last, float* scratch);                   \
  const FastOps& fast_ops();                                                                                      \
  }
LONGLEAF_FAST_OPS(baseline)
#ifdef LONGLEAF_X86
LONGLEAF_FAST_OPS(sse42)
LONGLEAF_FAST_OPS(avx2)
LONGLEAF_FAST_OPS(avxvnni)
LONGLEAF_FAST_OPS(avx512)
LONGLEAF_BFLOAT_OPS(avx512bf16)
#endif
#ifdef LONGLEAF_ARM
LONGLEAF_FAST_OPS(neondot)
#endif
#undef LONGLEAF_FAST_OPS
#undef LONGLEAF_BFLOAT_OPS

}  // namespace longleaf::kernels
