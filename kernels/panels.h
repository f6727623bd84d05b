// How the CPU keeps a weight matrix for its matrix products: packed once, when a model is loaded.
//
// Rows stand in panels of 16, so that a vector instruction serves 16 outputs and every output is summed in one lane,
// column by column: no result depends on batch or threads, nor on the width of vectors (but products of bfloat16 pairs
// round in the processor's own way). A panel of a block format is a run of units,
// read from the first byte to the last; a unit is a header of whole cache lines and one or more blocks of 32 columns:
//   header  16-bit scales of the 16 rows, at byte 0, where minima are none a second block's at byte 32; minima at
//           byte 32; where scales have two levels, behind those per group of columns 16 factors, int8, then the
//           minima's factors, uint8
//   blocks  codes in bit planes (4-bit plane, then 2-bit or 1-bit), 8-bit codes as they are; 64-byte words: byte
//           4*row + i of word j is column 4*j + i
// F32 and F16 keep their numbers: 16 rows, column by column. So does BF16, but in pairs: byte 4*row of word j is the
// first of column 2j, byte 4*row + 2 of column 2j + 1; a column that is missing is zero.
// Static, because it is compiled once per instruction set; see simd.h.
#pragma once

#include "kernels/types.h"

namespace longleaf::kernels {

constexpr int kPanelRows = 16;
constexpr int kBlockCols = 32;  // columns that share a scale of the activations

struct PanelFormat {
  int bits;        // per code
  int offset;      // taken from a stored code; codes are then in [-128, 127]
  bool has_table;  // stored codes index a table (IQ4, MXFP4)
  int group;       // columns that share a factor: 32 or 16
  int scale_cols;  // columns that share a 16-bit scale: 32, or 256 where scales have two levels
  bool has_min;
  bool bfloat_scales;  // scales are bfloat16 (MXFP4, whose scales halves cannot hold), not halves
};

static inline constexpr PanelFormat panel_format(DType type) {
  switch (type) {
    case DType::Q4_0:
      return {4, 8, false, 32, 32, false, false};
    case DType::Q4_1:
      return {4, 0, false, 32, 32, true, false};
    case DType::Q5_0:
      return {5, 16, false, 32, 32, false, false};
    case DType::Q5_1:
      return {5, 0, false, 32, 32, true, false};
    case DType::Q2_K:
      return {2, 0, false, 16, 256, true, false};
    case DType::Q3_K:
      return {3, 4, false, 16, 256, false, false};
    case DType::Q4_K:
      return {4, 0, false, 32, 256, true, false};
    case DType::Q5_K:
      return {5, 0, false, 32, 256, true, false};
    case DType::Q6_K:
      return {6, 32, false, 16, 256, false, false};
    case DType::IQ4_NL:
      return {4, 128, true, 32, 32, false, false};
    case DType::IQ4_XS:
      return {4, 128, true, 32, 256, false, false};
    case DType::MXFP4:
      return {4, 128, true, 32, 32, false, true};
    default:
      return {8, 128, false, 32, 32, false, false};  // Q8_0
  }
}

static inline constexpr bool is_quantized(DType type) { return format_of(type).values > 1; }

static inline constexpr size_t to_cache_line(size_t bytes) { return (bytes + 63) / 64 * 64; }

// Sizes and places within a unit, in bytes.
struct PanelUnit {
  int blocks;  // a panel's last unit may hold fewer, and is as large
  size_t factors_at, min_factors_at;
  size_t header, block, bytes;
};

static inline constexpr PanelUnit panel_unit(DType type) {
  const PanelFormat f = panel_format(type);
  const bool two_levels = f.scale_cols > kBlockCols;
  PanelUnit u{};
  u.blocks = two_levels ? f.scale_cols / kBlockCols : f.has_min ? 1 : 2;
  const size_t factors = two_levels ? static_cast<size_t>(f.scale_cols / f.group * kPanelRows) : 0;
  u.factors_at = 64;
  u.min_factors_at = u.factors_at + factors;
  u.header = u.min_factors_at + (f.has_min ? factors : 0);
  u.block = static_cast<size_t>(f.bits) * 64;
  u.bytes = u.header + static_cast<size_t>(u.blocks) * u.block;
  return u;
}

static inline constexpr size_t bytes_per_panel(DType type, int cols) {
  if (type == DType::BF16) return static_cast<size_t>((cols + 1) / 2) * kPanelRows * 4;
  if (!is_quantized(type)) return to_cache_line(static_cast<size_t>(cols * kPanelRows * format_of(type).bytes));
  const PanelUnit u = panel_unit(type);
  const int blocks = cols / kBlockCols;
  return static_cast<size_t>((blocks + u.blocks - 1) / u.blocks) * u.bytes;
}

static inline constexpr int panel_count(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

static inline constexpr size_t panel_bytes(const Weight& w) {
  return bytes_per_panel(w.type, w.cols) * static_cast<size_t>(panel_count(w.rows));
}

// Packs panel `index` of `rows` into `panel` (bytes_per_panel() bytes). Rows past the last are zero. Any thread.
void pack_panel(const Weight& rows, int index, uint8_t* panel);

}  // namespace longleaf::kernels
