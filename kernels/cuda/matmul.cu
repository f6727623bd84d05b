// Products of many tokens (prefill), on tensor cores. See backend.h and planes.h.
// A block of threads computes 128 rows of outputs for 128 tokens; weights and activations stream through shared memory,
// kStages steps of 64 columns ahead. Each output is summed in the order of its columns.
#include "kernels/cuda/planes.cuh"
#include "kernels/cuda/steps.h"
#include "kernels/cuda/tiles.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

constexpr int kThreads = kTileThreads;         // 8 warps: 4 of 32 rows times 2 of 64 tokens
constexpr int kRowTiles = 2, kTokenTiles = 8;  // of 16 rows and of 8 tokens, in one warp

// Where a warp stands in the tile, and a lane in its fragments.
struct Place {
  int row, token;  // of the warp's first
  int g, t;        // of the lane
};
__device__ inline Place own_place() {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return {warp % 4 * 32, warp / 4 * 64, lane / 4, lane % 4};
}

using Sums = float[kRowTiles][kTokenTiles][4];

//   scales  of tokens; nullptr: 1
__device__ inline void write_sums(const ProductArgs& a, const Place& place, const Sums& sums,
                                  const float* scales = nullptr) {
  for (int i = 0; i < kRowTiles; ++i) {
    for (int n = 0; n < 4; ++n) {
      const int row = static_cast<int>(blockIdx.x) * kTileRows + place.row + 16 * i + place.g + 8 * (n / 2);
      if (row >= a.rows) continue;
      const float bias = a.bias == nullptr ? 0.0f : a.bias[row];
#pragma unroll
      for (int j = 0; j < kTokenTiles; ++j) {
        const int token = static_cast<int>(blockIdx.y) * kTileTokens + place.token + 8 * j + 2 * place.t + n % 2;
        if (token >= a.n_tokens) continue;
        const float sum = scales == nullptr ? sums[i][j][n] : sums[i][j][n] * scales[token];
        a.out[int64_t{token} * a.rows + row] = sum + bias;
      }
    }
  }
}

__device__ inline int at_most(int x, int most) { return x < most ? x : most; }

// Copies `n` cells of kCellBytes each: cell i from `from(i)` to place i.
template <int kCellBytes, typename From>
__device__ inline void copy_cells(unsigned char* to, int n, const From& from) {
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kThreads)
    copy_ahead<kCellBytes>(to + i * kCellBytes, from(i));
}

// Begins the copies of the blocks block, block + 1 of this tile. Rows and tokens beyond the last repeat it.
template <DType T>
__device__ inline void begin_step(const ProductArgs& a, const Planes& p, int block, unsigned char* stage) {
  constexpr PanelFormat f = panel_format(T);
  constexpr Step kStep = step_of(T);
  const int blocks = a.cols / kBlockCols, n = at_most(kStepBlocks, blocks - block);
  const int first_row = static_cast<int>(blockIdx.x) * kTileRows,
            first_token = static_cast<int>(blockIdx.y) * kTileTokens;
  // Cells of codes: (block, row).
  const auto codes = [&](int64_t plane, int bytes) {
    return [=, &a](int i) {
      const int row = at_most(first_row + i % kTileRows, a.rows - 1);
      return a.weight + plane + (int64_t{row} * blocks + block + i / kTileRows) * bytes;
    };
  };
  if constexpr (f.bits >= 4 && f.bits < 8) copy_cells<16>(stage + kStep.nibbles, n * kTileRows, codes(p.nibbles, 16));
  if constexpr (f.bits < 8 && (f.bits & 2) != 0) copy_cells<8>(stage + kStep.pairs, n * kTileRows, codes(p.pairs, 8));
  if constexpr (f.bits % 2 == 1) copy_cells<4>(stage + kStep.singles, n * kTileRows, codes(p.singles, 4));
  if constexpr (f.bits == 8)
    copy_cells<16>(stage + kStep.bytes, n * kTileRows * 2, [&](int i) {
      const int row = at_most(first_row + i / 2 % kTileRows, a.rows - 1);
      return a.weight + p.bytes + (int64_t{row} * blocks + block + i / 2 / kTileRows) * 32 + i % 2 * 16;
    });
  // Cells of 16 bytes of what lies rows side by side: (column, rows).
  const auto scales = [&](int64_t plane, int first, int element) {
    return [=, &a](int i) {
      const int cells = kTileRows * element / 16, per_cell = 16 / element;
      const int row = at_most(first_row + i % cells * per_cell, p.rows_padded - per_cell);
      return a.weight + plane + (int64_t{first + i / cells} * p.rows_padded + row) * element;
    };
  };
  const int scale = block * kBlockCols / f.scale_cols, n_scales = at_most(kStep.scales_per_row, n);
  copy_cells<16>(stage + kStep.scales, n_scales * kTileRows / 8, scales(p.scales, scale, 2));
  if constexpr (f.has_min) copy_cells<16>(stage + kStep.minima, n_scales * kTileRows / 8, scales(p.minima, scale, 2));
  if constexpr (kStep.two_levels) {
    const int group = block * kStep.groups, cells = n * kStep.groups * kTileRows / 16;
    copy_cells<16>(stage + kStep.factors, cells, scales(p.factors, group, 1));
    if constexpr (f.has_min) copy_cells<16>(stage + kStep.min_factors, cells, scales(p.min_factors, group, 1));
  }
  copy_cells<16>(stage + kStep.codes, n * kTileTokens * 2, [&](int i) {
    const int token = at_most(first_token + i / 2 % kTileTokens, a.n_tokens - 1);
    return a.codes + (int64_t{token} * blocks + block + i / 2 / kTileTokens) * 32 + i % 2 * 16;
  });
  copy_cells<16>(stage + kStep.metas, n * kTileTokens / 2, [&](int i) {
    const int token = at_most(first_token + i * 2 % kTileTokens, a.tokens_padded - 2);
    return a.meta + int64_t{block + i * 2 / kTileTokens} * a.tokens_padded + token;
  });
}

// The scales of one row in one block.
struct RowScales {
  float scale, minimum;
  int factors[2], min_factors[2];
};

template <DType T>
__device__ inline RowScales row_scales(const unsigned char* stage, int sub, int row) {
  constexpr PanelFormat f = panel_format(T);
  constexpr Step kStep = step_of(T);
  const int at = kStep.two_levels ? row : sub * kTileRows + row;
  RowScales s{scale_value<T>(reinterpret_cast<const uint16_t*>(stage + kStep.scales)[at]), 0.0f, {1, 1}, {1, 1}};
  if constexpr (f.has_min) s.minimum = scale_value<T>(reinterpret_cast<const uint16_t*>(stage + kStep.minima)[at]);
  if constexpr (kStep.two_levels) {
#pragma unroll
    for (int g = 0; g < 2; ++g) {
      const int group = (sub * kStep.groups + g % kStep.groups) * kTileRows + row;
      s.factors[g] = static_cast<int8_t>(stage[kStep.factors + group]);
      if constexpr (f.has_min) s.min_factors[g] = stage[kStep.min_factors + group];
    }
  }
  return s;
}

// Without the activations' scale.
template <DType T>
__device__ inline float scaled(const RowScales& row, int low, int high, const Meta& meta) {
  constexpr PanelFormat f = panel_format(T);
  const int codes = f.group == kBlockCols ? row.factors[0] * low : row.factors[0] * low + row.factors[1] * high;
  const float value = rounded_product(row.scale, static_cast<float>(codes));
  if constexpr (!f.has_min) return value;
  const int minima = row.min_factors[0] * meta.sums[0] + row.min_factors[1] * meta.sums[1];
  return fmaf(-row.minimum, static_cast<float>(minima), value);
}

// Adds block `sub` of a step to the sums.
template <DType T>
__device__ inline void multiply_block(const unsigned char* stage, int sub, const Place& place, Sums& sums) {
  constexpr PanelFormat f = panel_format(T);
  constexpr Step kStep = step_of(T);
  constexpr int kOffset = code_offset<T>();
  uint32_t weights[kRowTiles][4];
  RowScales scales[kRowTiles][2];
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = place.row + 16 * i + 8 * half + place.g, cell = sub * kTileRows + row;
      const BlockAt at{reinterpret_cast<const uint32_t*>(stage + kStep.nibbles) + 4 * cell,
                       reinterpret_cast<const uint32_t*>(stage + kStep.pairs) + 2 * cell,
                       reinterpret_cast<const uint32_t*>(stage + kStep.singles) + cell,
                       reinterpret_cast<const uint32_t*>(stage + kStep.bytes) + 8 * cell};
      const Words words = code_words<T>(at, place.t);
      weights[i][half] = words.low;
      weights[i][2 + half] = words.high;
      scales[i][half] = row_scales<T>(stage, sub, row);
    }
  }
#pragma unroll
  for (int j = 0; j < kTokenTiles; ++j) {
    const int token = sub * kTileTokens + place.token + 8 * j;
    const uint2 both = *reinterpret_cast<const uint2*>(stage + kStep.codes + (token + place.g) * 32 + place.t * 8);
    const uint32_t x[2] = {both.x, both.y};
    const Meta* metas = reinterpret_cast<const Meta*>(stage + kStep.metas) + token + 2 * place.t;
    const Meta meta[2] = {metas[0], metas[1]};
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      int low[4], high[4];
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        low[n] = -kOffset * meta[n % 2].sums[0];
        high[n] = -kOffset * meta[n % 2].sums[1];
      }
      if constexpr (f.group == kBlockCols) {
#pragma unroll
        for (int n = 0; n < 4; ++n) low[n] += high[n];
        multiply_bytes_32(low, weights[i], x);
      } else {
        multiply_bytes_16(low, weights[i][0], weights[i][1], x[0]);
        multiply_bytes_16(high, weights[i][2], weights[i][3], x[1]);
      }
#pragma unroll
      for (int n = 0; n < 4; ++n)
        sums[i][j][n] =
            fmaf(meta[n % 2].scale, scaled<T>(scales[i][n / 2], low[n], high[n], meta[n % 2]), sums[i][j][n]);
    }
  }
}

template <DType T>
__device__ inline void matmul_blocks(const ProductArgs& a) {
  const Planes p = planes_of(T, a.rows, a.cols);
  const int blocks = a.cols / kBlockCols, steps = (blocks + kStepBlocks - 1) / kStepBlocks;
  const Place place = own_place();
  const auto stage = [](int step) { return shared_bytes() + step % kStages * step_of(T).end; };
  Sums sums = {};
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) begin_step<T>(a, p, s * kStepBlocks, stage(s));
    end_of_group();
  }
  for (int s = 0; s < steps; ++s) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // step s is there for all, and all are done with step s - 1
    if (s + kStages - 1 < steps) begin_step<T>(a, p, (s + kStages - 1) * kStepBlocks, stage(s + kStages - 1));
    end_of_group();
    for (int sub = 0; sub < at_most(kStepBlocks, blocks - s * kStepBlocks); ++sub)
      multiply_block<T>(stage(s), sub, place, sums);
  }
  write_sums(a, place, sums);
}

// Of weights and inputs of two bytes: bfloats, or halves.
__device__ inline void begin_short_step(const ProductArgs& a, const uint16_t* input, int col, unsigned char* stage) {
  constexpr int kCells = kStepCols * 2 / 16;  // of 16 bytes in a row
  const int64_t stride = padded_cols(a.cols);
  const auto* weights = reinterpret_cast<const uint16_t*>(a.weight);
  for (int i = static_cast<int>(threadIdx.x); i < kTileRows * kCells; i += kThreads) {
    const int cell = i % kCells * 8, at = i / kCells * kRowBytes + cell * 2;
    const int row = at_most(static_cast<int>(blockIdx.x) * kTileRows + i / kCells, a.rows - 1);
    const int token = at_most(static_cast<int>(blockIdx.y) * kTileTokens + i / kCells, a.n_tokens - 1);
    copy_ahead<16>(stage + at, weights + row * stride + col + cell);
    copy_ahead<16>(stage + kShortTokens + at, input + token * stride + col + cell);
  }
}

// Adds 16 columns, from column `col` of the step on, to the sums.
template <DType T>
__device__ inline void multiply_short_step(const unsigned char* stage, int col, const Place& place, Sums& sums) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint32_t weights[kRowTiles][4];
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i) {
    const int row = place.row + 16 * i + lane % 16, at = col + lane / 16 * 8;
    load_matrices(weights[i], stage + row * kRowBytes + at * 2);
  }
#pragma unroll
  for (int j = 0; j < kTokenTiles; j += 2) {
    const int token = place.token + 8 * j + lane / 16 * 8 + lane % 8, at = col + lane / 8 % 2 * 8;
    uint32_t x[4];
    load_matrices(x, stage + kShortTokens + token * kRowBytes + at * 2);
    const uint32_t first[2] = {x[0], x[1]}, second[2] = {x[2], x[3]};
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      if constexpr (T == DType::BF16) {
        multiply_bfloats(sums[i][j], weights[i], first);
        multiply_bfloats(sums[i][j + 1], weights[i], second);
      } else {
        multiply_halves(sums[i][j], weights[i], first);
        multiply_halves(sums[i][j + 1], weights[i], second);
      }
    }
  }
}

template <DType T>
__device__ inline void matmul_shorts(const ProductArgs& a, const uint16_t* input, const float* scales) {
  const int steps = padded_cols(a.cols) / kStepCols;
  const Place place = own_place();
  const auto stage = [](int step) { return shared_bytes() + step % kStages * kShortStep; };
  Sums sums = {};
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) begin_short_step(a, input, s * kStepCols, stage(s));
    end_of_group();
  }
  for (int s = 0; s < steps; ++s) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // step s is there for all, and all are done with step s - 1
    if (s + kStages - 1 < steps) begin_short_step(a, input, (s + kStages - 1) * kStepCols, stage(s + kStages - 1));
    end_of_group();
    for (int col = 0; col < kStepCols; col += 16) multiply_short_step<T>(stage(s), col, place, sums);
  }
  write_sums(a, place, sums, scales);
}

}  // namespace

// Grid: (rows / 128, tokens / 128). Block: 256. Shared: matmul_shared_bytes.
extern "C" __global__ void __launch_bounds__(256, 1) matmul_BF16(const ProductArgs a) {
  matmul_shorts<DType::BF16>(a, a.bfloats, nullptr);
}
extern "C" __global__ void __launch_bounds__(256, 1) matmul_F16(const ProductArgs a) {
  matmul_shorts<DType::F16>(a, a.halves, a.scales);
}

// Grid: (rows / 128, tokens / 128). Block: 256. Shared: matmul_shared_bytes.
#define MATMUL(type)                                                                        \
  extern "C" __global__ void __launch_bounds__(256, 1) matmul_##type(const ProductArgs a) { \
    matmul_blocks<DType::type>(a);                                                          \
  }
BLOCK_FORMATS(MATMUL)
