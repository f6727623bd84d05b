// What each kernel is given: one struct per kernel, the same on the host and on the device.
// Pointers are to device memory. Shapes and formulas: backend.h and span_attention.h. Plain C++, for every compiler.
#pragma once

#include "kernels/span_attention.h"
#include "kernels/training_types.h"
#include "kernels/types.h"

namespace longleaf::kernels::cuda {

struct NormArgs {  // rms_norm, layer_norm
  const float* x;
  const float* weight;
  const float* bias;  // layer_norm
  float* out;
  float eps;
  int cols;
};

struct AddNormArgs {
  float* x;
  const float* y;  // may be out
  const float* weight;
  float* out;
  float scale, eps;
  int cols;
};

struct GateArgs {
  float* gate;
  const float* up;  // may be nullptr
  int64_t n;
  Activation activation;
};

struct AddArgs {
  float* x;
  const float* y;
  int64_t n;
  float scale;
};

struct ScaleArgs {
  float* x;
  int64_t n;
  float factor;
};

struct RowsArgs {  // gather_rows, scatter_add
  const float* from;
  const int32_t* ids;
  const float* weights;  // scatter_add
  float* to;
  int cols;
};

struct BestArgs {
  const float* x;
  int32_t* out;
  int cols;
};

struct TopKernelArgs {  // top
  const float* x;
  float* values;
  int32_t* ids;
  double* sums;  // may be nullptr
  int cols, k;
  float temperature;
};

struct MeanArgs {
  const float* x;
  float* out;
  int rows, cols;
};

struct RotateArgs {
  float* x;
  const int32_t* positions;
  const float* inv_freq;
  int n_heads, head_dim, pairs;
  RopeStyle style;
  float magnitude;
};

struct KvArgs {  // kv_write, kv_read
  KvView kv;
  void* k;
  void* v;
  size_t rows_stride;
  DType type;
  int first_key;
  const int32_t* base_key;  // may be nullptr
};

// Activations of a product. Blocks are of 32 columns.
struct Meta {
  float scale;
  int16_t sums[2];  // of the codes of columns 0..15 and 16..31
};

struct PrepareArgs {  // prepare_codes, prepare_bfloats, prepare_halves, prepare_floats
  const float* x;     // (n_tokens, cols)
  int8_t* codes;      // (n_tokens, cols / 32, 32), words of four columns in the order 0 4 1 5 2 6 3 7
  Meta* meta;         // (cols / 32, tokens_padded)
  uint16_t* bfloats;  // (n_tokens, cols_padded), zeros behind cols
  uint16_t* halves;   // likewise, times a power of two of each token's own
  float* scales;      // (n_tokens): what `halves` are to be multiplied by
  float* floats;      // as bfloats
  int cols, cols_padded, tokens_padded;
};

struct ProductArgs {      // matvec_*, matmul_*
  const uint8_t* weight;  // planes.h
  const int8_t* codes;
  const Meta* meta;
  const uint16_t* bfloats;
  const uint16_t* halves;
  const float* scales;
  const float* floats;
  const float* bias;  // may be nullptr
  float* out;         // (n_tokens, rows)
  int rows, cols, n_tokens, tokens_padded;
};

struct TileProductArgs {  // product_*: tokens times rows of a weight, c (n_tokens, rows)
  GemmArgs gemm;
  const float* bias;  // may be nullptr
};

struct AttentionArgs {  // attend_rows, attend_join, attend_tiles
  const float* q;
  float* out;
  float* partial;  // attend_rows: (n_tokens, n_heads, n_splits, head_dim + 2): top score, total weight, weighted values
  KvView kv;
  const Span* spans;
  const int32_t* group_begin;
  const float* inv_freq;
  const int32_t* positions;
  const int32_t* base_key;  // may be nullptr
  int n_tokens, n_heads, first_key, n_groups, pairs, n_splits, window;
  RopeStyle style;
  float scale, soft_cap;
};

// The operations of training that need no more than training_types.h are given that.

struct UnpackArgs {       // unpack_*
  const uint8_t* weight;  // planes.h
  float* out;             // (rows, cols)
  int rows, cols;
};

struct CopyArgs {  // copy_numbers
  const float* from;
  float* to;
  int64_t n;
};

constexpr int kRowSlices = 8;
constexpr unsigned kSliceThreads = 32 * kRowSlices;

struct NormBackArgs {  // rms_norm_back, norm_weight_back
  NormBack of;
  float* inverse;  // (rows): 1 / sqrt(mean(x²) + eps)
};

struct AddRowsArgs {
  const float* rows;
  const int32_t* ids;
  float* x;
  int n, cols;
};

struct ScaleRowsArgs {
  const float* x;
  const float* factors;
  float* out;
  int cols;
  bool add;
};

struct DotRowsArgs {
  const float* x;
  const float* y;
  float* out;
  int cols;
};

struct LeakyArgs {  // leaky, leaky_back
  const float* x;
  const float* dy;  // back only
  float* out;
  int64_t n;
  float slope;
};

struct AdamArgs {
  AdamStep step;
  float first_share, second_share;  // 1 - beta^step
};

constexpr int kSumThreads = 256;

struct SquaresArgs {
  const float* x;
  double* partial;  // one per block
  int64_t n;
};

// A block's share of the queries, or of the keys, of one sequence.
struct SequenceTile {
  Sequence of;
  int first;
};

struct SequencesArgs {  // attend_sequences_*, sequence_queries_back_*, sequence_keys_back_*
  const float *q, *k, *v, *dout;
  float *out, *norms;
  float* along;  // (n_queries, n_heads): <dout, out>
  float *dq, *dk, *dv;
  const SequenceTile* tiles;  // one per block
  int n_heads, n_kv_heads, head_dim, window;
  float scale, soft_cap;
};

}  // namespace longleaf::kernels::cuda
