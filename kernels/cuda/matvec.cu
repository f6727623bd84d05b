// Products of a few tokens (decode): bound by reading the weights, each once. See backend.h and planes.h.
// A warp computes four rows of outputs; its lanes take every 32nd block of columns and meet in one sum at the end, in
// an order that does not depend on the number of tokens: 1 to 8 tokens give the same bits as each alone.
#include "kernels/cuda/planes.cuh"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

constexpr int kRows = 4;  // of one warp: their scales are one load

__device__ inline int first_row() {
  return static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / kWarpThreads) * kRows;
}
__device__ inline int own_lane() { return static_cast<int>(threadIdx.x) % kWarpThreads; }

// sums: of this lane. Rows and tokens that are not there were computed in place of others and are not written.
template <int kTokens>
__device__ inline void write_sums(const ProductArgs& a, int row, float (&sums)[kRows][kTokens]) {
  for (int r = 0; r < kRows; ++r) {
    for (int t = 0; t < kTokens; ++t) {
      const float sum = warp_sum(sums[r][t]);
      if (own_lane() == 0 && row + r < a.rows && t < a.n_tokens)
        a.out[int64_t{t} * a.rows + row + r] = sum + (a.bias == nullptr ? 0.0f : a.bias[row + r]);
    }
  }
}

// A block of 32 columns of one row.
struct RowBlock {
  uint32_t words[8];  // in the order of the activations' words
  int factors[2] = {1, 1}, min_factors[2] = {1, 1};
  float scale, minimum;
};

template <DType T>
__device__ inline void load_codes(const uint8_t* weight, const Planes& p, int64_t index, RowBlock& out) {
  constexpr PanelFormat f = panel_format(T);
  // Whole planes of the block in registers first: one wide load each.
  uint4 nibbles[1], bytes[2];
  uint2 pairs[1];
  uint32_t singles[1];
  if constexpr (f.bits == 8) {
    bytes[0] = reinterpret_cast<const uint4*>(weight + p.bytes)[2 * index];
    bytes[1] = reinterpret_cast<const uint4*>(weight + p.bytes)[2 * index + 1];
  }
  if constexpr (f.bits >= 4 && f.bits < 8) nibbles[0] = reinterpret_cast<const uint4*>(weight + p.nibbles)[index];
  if constexpr (f.bits < 8 && (f.bits & 2) != 0) pairs[0] = reinterpret_cast<const uint2*>(weight + p.pairs)[index];
  if constexpr (f.bits % 2 == 1) singles[0] = reinterpret_cast<const uint32_t*>(weight + p.singles)[index];
  const BlockAt at{reinterpret_cast<const uint32_t*>(nibbles), reinterpret_cast<const uint32_t*>(pairs), singles,
                   reinterpret_cast<const uint32_t*>(bytes)};
#pragma unroll
  for (int w = 0; w < 4; ++w) {
    const Words words = code_words<T>(at, w);
    out.words[2 * w] = words.low;
    out.words[2 * w + 1] = words.high;
  }
}

__device__ inline uint16_t half_of_four(const uint2& four, int i) {
  return static_cast<uint16_t>((i < 2 ? four.x : four.y) >> (16 * (i % 2)));
}

// Scales of rows row … row + 3 in one block. REQUIRES: row is a multiple of 4.
template <DType T>
__device__ inline void load_scales(const uint8_t* weight, const Planes& p, int row, int block, RowBlock (&out)[kRows]) {
  constexpr PanelFormat f = panel_format(T);
  const int64_t at = (int64_t{block * kBlockCols / f.scale_cols} * p.rows_padded + row) * 2;
  const uint2 scales = *reinterpret_cast<const uint2*>(weight + p.scales + at);
  uint2 minima{0, 0};
  if constexpr (f.has_min) minima = *reinterpret_cast<const uint2*>(weight + p.minima + at);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    out[r].scale = scale_value<T>(half_of_four(scales, r));
    out[r].minimum = f.has_min ? scale_value<T>(half_of_four(minima, r)) : 0.0f;
  }
  if constexpr (f.scale_cols > kBlockCols) {
    constexpr int kGroups = kBlockCols / f.group;
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      const int64_t group = int64_t{block * kGroups + g % kGroups} * p.rows_padded + row;
      const uint32_t factors = *reinterpret_cast<const uint32_t*>(weight + p.factors + group);
      uint32_t min_factors = 0;
      if constexpr (f.has_min) min_factors = *reinterpret_cast<const uint32_t*>(weight + p.min_factors + group);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        out[r].factors[g] = static_cast<int8_t>(factors >> (8 * r));
        if constexpr (f.has_min) out[r].min_factors[g] = static_cast<uint8_t>(min_factors >> (8 * r));
      }
    }
  }
}

// Without the activations' scale.
template <DType T>
__device__ inline float dot_block(const RowBlock& row, const uint32_t (&x)[8], const Meta& meta) {
  constexpr PanelFormat f = panel_format(T);
  int low = 0, high = 0;
#pragma unroll
  for (int w = 0; w < 8; w += 2) {
    low = dot4(row.words[w], x[w], low);
    high = dot4(row.words[w + 1], x[w + 1], high);
  }
  low -= code_offset<T>() * meta.sums[0];
  high -= code_offset<T>() * meta.sums[1];
  const int codes = row.factors[0] * low + row.factors[1] * high;
  const float value = rounded_product(row.scale, static_cast<float>(codes));
  if constexpr (!f.has_min) return value;
  const int minima = row.min_factors[0] * meta.sums[0] + row.min_factors[1] * meta.sums[1];
  return fmaf(-row.minimum, static_cast<float>(minima), value);
}

template <DType T, int kTokens>
__device__ inline void matvec_blocks(const ProductArgs& a) {
  const Planes p = planes_of(T, a.rows, a.cols);
  const int row = first_row(), blocks = a.cols / kBlockCols;
  if (row >= a.rows) return;
  float sums[kRows][kTokens] = {};
  for (int b = own_lane(); b < blocks; b += kWarpThreads) {
    RowBlock rows[kRows];
    load_scales<T>(a.weight, p, row, b, rows);
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      load_codes<T>(a.weight, p, int64_t{row + r < a.rows ? row + r : row} * blocks + b, rows[r]);
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const int token = t < a.n_tokens ? t : 0;
      const auto* codes = reinterpret_cast<const uint4*>(a.codes + (int64_t{token} * blocks + b) * kBlockCols);
      const uint4 first = codes[0], second = codes[1];
      const uint32_t x[8] = {first.x, first.y, first.z, first.w, second.x, second.y, second.z, second.w};
      const Meta meta = a.meta[int64_t{b} * a.tokens_padded + token];
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r][t] = fmaf(meta.scale, dot_block<T>(rows[r], x, meta), sums[r][t]);
    }
  }
  write_sums(a, row, sums);
}

constexpr int kChunk = 8;  // columns that a lane takes at once, where weights are numbers

template <DType T>
__device__ inline void load_numbers(const uint8_t* at, float (&out)[kChunk]) {
  if constexpr (T == DType::F32) {
    const auto* from = reinterpret_cast<const float4*>(at);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4 four = from[i];
      out[4 * i] = four.x, out[4 * i + 1] = four.y, out[4 * i + 2] = four.z, out[4 * i + 3] = four.w;
    }
  } else {
    const uint4 words = *reinterpret_cast<const uint4*>(at);
    const uint32_t all[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      const auto bits = static_cast<uint16_t>(all[i / 2] >> (16 * (i % 2)));
      out[i] = T == DType::F16 ? from_half(bits) : from_bfloat(bits);
    }
  }
}

template <DType T, int kTokens>
__device__ inline void matvec_numbers(const ProductArgs& a) {
  constexpr int kBytes = T == DType::F32 ? 4 : 2;
  constexpr DType kInput = T == DType::BF16 ? DType::BF16 : DType::F32;
  constexpr int kInputBytes = kInput == DType::F32 ? 4 : 2;
  const int row = first_row();
  const int64_t stride = padded_cols(a.cols);
  const auto* input =
      kInput == DType::F32 ? reinterpret_cast<const uint8_t*>(a.floats) : reinterpret_cast<const uint8_t*>(a.bfloats);
  if (row >= a.rows) return;
  float sums[kRows][kTokens] = {};
  for (int64_t c = own_lane() * kChunk; c < stride; c += kWarpThreads * kChunk) {
    float weights[kRows][kChunk];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      load_numbers<T>(a.weight + ((row + r < a.rows ? row + r : row) * stride + c) * kBytes, weights[r]);
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      float x[kChunk];
      load_numbers<kInput>(input + ((t < a.n_tokens ? t : 0) * stride + c) * kInputBytes, x);
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int i = 0; i < kChunk; ++i) sums[r][t] = fmaf(weights[r][i], x[i], sums[r][t]);
    }
  }
  write_sums(a, row, sums);
}

template <DType T, int kTokens>
__device__ inline void matvec(const ProductArgs& a) {
  if constexpr (is_quantized(T))
    matvec_blocks<T, kTokens>(a);
  else
    matvec_numbers<T, kTokens>(a);
}

}  // namespace

// Grid: rows / (4 * warps of a block). Block: whole warps. The number is that of tokens, at least n_tokens.
#define MATVEC(type)                                                                               \
  extern "C" __global__ void matvec_##type##_1(const ProductArgs a) { matvec<DType::type, 1>(a); } \
  extern "C" __global__ void matvec_##type##_2(const ProductArgs a) { matvec<DType::type, 2>(a); } \
  extern "C" __global__ void matvec_##type##_4(const ProductArgs a) { matvec<DType::type, 4>(a); } \
  extern "C" __global__ void matvec_##type##_8(const ProductArgs a) { matvec<DType::type, 8>(a); }
MATVEC(F32)
MATVEC(F16)
MATVEC(BF16)
BLOCK_FORMATS(MATVEC)
