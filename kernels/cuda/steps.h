// The tiles of a product on tensor cores, and what of them stands in shared memory at a time. For host and device.
#pragma once

#include "kernels/cuda/planes.h"

namespace longleaf::kernels::cuda {

constexpr int kTileThreads = 256;
constexpr int kTileRows = 128, kTileTokens = 128;
constexpr int kStages = 3;      // steps in shared memory
constexpr int kStepBlocks = 2;  // blocks of 32 columns in a step of a format of blocks

// Places in a step, in bytes: cells (block, row) of codes, (group, row) of factors, (scale, row) of scales, (block,
// token) of activations.
struct Step {
  bool two_levels = false;
  int groups = 0;          // factors per row and block
  int scales_per_row = 0;  // in a step
  int nibbles = 0, pairs = 0, singles = 0, bytes = 0, factors = 0, min_factors = 0, scales = 0, minima = 0, codes = 0;
  int metas = 0, end = 0;
};

constexpr Step step_of(DType type) {
  const PanelFormat f = panel_format(type);
  constexpr int kCells = kStepBlocks * kTileRows;
  Step s;
  s.two_levels = f.scale_cols > kBlockCols;
  s.groups = kBlockCols / f.group;
  s.scales_per_row = s.two_levels ? 1 : kStepBlocks;
  const int factors = s.two_levels ? kCells * s.groups : 0, scales = s.scales_per_row * kTileRows * 2;
  const auto place = [&s](int size) {
    const int at = s.end;
    s.end += size;
    return at;
  };
  s.nibbles = place(f.bits >= 4 && f.bits < 8 ? kCells * 16 : 0);
  s.pairs = place(f.bits < 8 && (f.bits & 2) != 0 ? kCells * 8 : 0);
  s.singles = place(f.bits % 2 == 1 ? kCells * 4 : 0);
  s.bytes = place(f.bits == 8 ? kCells * 32 : 0);
  s.factors = place(factors);
  s.min_factors = place(f.has_min ? factors : 0);
  s.scales = place(scales);
  s.minima = place(f.has_min ? scales : 0);
  s.codes = place(kStepBlocks * kTileTokens * kBlockCols);
  s.metas = place(kStepBlocks * kTileTokens * 8);
  return s;
}

// One step of bfloats or halves: 32 columns; rows 80 bytes apart, so that eight of them meet all banks.
constexpr int kStepCols = 32, kRowBytes = kStepCols * 2 + 16;
constexpr int kShortTokens = kTileRows * kRowBytes, kShortStep = kShortTokens + kTileTokens * kRowBytes;

constexpr int matmul_shared_bytes(DType type) {
  return kStages * (type == DType::BF16 || type == DType::F16 ? kShortStep : step_of(type).end);
}

}  // namespace longleaf::kernels::cuda
