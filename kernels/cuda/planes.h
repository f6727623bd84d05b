// How a GPU keeps a weight matrix: packed once, when a model is loaded, to the same number of bits per weight.
//
// Formats of blocks are taken apart into planes, one behind the other. Codes lie row by row, so that lanes which take
// neighbouring blocks of a row read memory in one piece; scales lie the other way, rows side by side, so that a tile of
// rows reads its scales in one piece. A block is 32 columns:
//   nibbles       (rows, blocks, 16 bytes)   4 lower bits of a code; see codes.h for the order within words
//   pairs         (rows, blocks, 8 bytes)    its next 2 bits
//   singles       (rows, blocks, 4 bytes)    its next bit
//   bytes         (rows, blocks, 32 bytes)   codes of 8 bits, signed, words in the order 0 4 1 5 2 6 3 7
//   factors       (cols / group, rows_padded) int8, where scales have two levels
//   min_factors   likewise, uint8, where there are minima
//   scales        (cols / scale_cols, rows_padded) half or bfloat16
//   minima        likewise, where there are minima
// F32, F16 and BF16 keep their numbers, row by row, with zeros up to cols_padded.
#pragma once

#include "kernels/panels.h"

namespace longleaf::kernels::cuda {

struct Planes {
  int64_t nibbles = 0, pairs = 0, singles = 0, bytes = 0, factors = 0, min_factors = 0, scales = 0, minima = 0;
  int64_t total = 0;
  int rows_padded = 0;  // to whole 16 bytes of factors
};

constexpr int kPaddedRows = 16;

constexpr int padded_cols(int cols) { return (cols + kBlockCols - 1) / kBlockCols * kBlockCols; }

// Places of the planes, in bytes from the start of the weight.
constexpr Planes planes_of(DType type, int rows, int cols) {
  const PanelFormat f = panel_format(type);
  const int64_t blocks = int64_t{rows} * (cols / kBlockCols);
  const bool two_levels = f.scale_cols > kBlockCols;
  Planes p;
  p.rows_padded = (rows + kPaddedRows - 1) / kPaddedRows * kPaddedRows;
  const int64_t factors = two_levels ? int64_t{p.rows_padded} * (cols / f.group) : 0;
  const int64_t scales = int64_t{p.rows_padded} * (cols / f.scale_cols) * 2;
  const auto place = [&p](int64_t bytes) {
    const int64_t at = p.total;
    p.total += (bytes + 255) / 256 * 256;
    return at;
  };
  const bool nibbles = f.bits >= 4 && f.bits < 8;
  p.nibbles = place(nibbles ? blocks * 16 : 0);
  p.pairs = place(f.bits < 8 && (f.bits & 2) != 0 ? blocks * 8 : 0);
  p.singles = place(f.bits % 2 == 1 ? blocks * 4 : 0);
  p.bytes = place(f.bits == 8 ? blocks * 32 : 0);
  p.factors = place(factors);
  p.min_factors = place(f.has_min ? factors : 0);
  p.scales = place(scales);
  p.minima = place(f.has_min ? scales : 0);
  return p;
}

// Bytes of a packed weight of any format.
constexpr size_t planes_bytes(DType type, int rows, int cols) {
  if (is_quantized(type)) return static_cast<size_t>(planes_of(type, rows, cols).total);
  return static_cast<size_t>(rows) * row_bytes(type, padded_cols(cols));
}

// Packs rows [first, last) of a weight in host memory into `planes` (planes_bytes() bytes in host memory, zeroed before
// the first call). Different rows: any thread.
void pack_planes(const Weight& rows, int first, int last, uint8_t* planes);

}  // namespace longleaf::kernels::cuda
