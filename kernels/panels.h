// How the CPU keeps a weight matrix for its matrix products: packed once, when a model is loaded.
//
// Rows stand in panels of 16, so that a vector instruction serves 16 outputs and every output is summed in one lane,
// column by column: no result depends on vector width, batch or threads. A panel is a row of sections:
//   codes   blocks of 32 columns in bit planes (4-bit plane, then 2-bit or 1-bit), 8-bit codes as they are;
//           64-byte words: byte 4*row + i of word j is column 4*j + i
//   scales  16-bit floats, 16 rows per `scale_cols` columns
//   minima  as the scales, where the format has them
//   factors int8, 16 rows per `group` columns, where scales have two levels; then the minima's factors, uint8
// F32, F16 and BF16 keep their numbers: 16 rows, column by column.
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
      return {4, 0, true, 32, 32, false, false};
    case DType::IQ4_XS:
      return {4, 0, true, 32, 256, false, false};
    case DType::MXFP4:
      return {4, 0, true, 32, 32, false, true};
    default:
      return {8, 0, false, 32, 32, false, false};  // Q8_0
  }
}

static inline constexpr bool is_quantized(DType type) { return format_of(type).values > 1; }

// Where the sections of one panel begin, in bytes; each on a cache line.
struct PanelSections {
  size_t scales = 0, minima = 0, factors = 0, min_factors = 0;
  size_t bytes = 0;
};

static inline constexpr size_t to_cache_line(size_t bytes) { return (bytes + 63) / 64 * 64; }

static inline constexpr PanelSections panel_sections(DType type, int cols) {
  const auto n = static_cast<size_t>(cols);
  PanelSections s;
  if (!is_quantized(type)) {
    s.bytes = to_cache_line(n * kPanelRows * static_cast<size_t>(format_of(type).bytes));
    return s;
  }
  const PanelFormat f = panel_format(type);
  const size_t scales = to_cache_line(n / static_cast<size_t>(f.scale_cols) * kPanelRows * 2);
  const size_t factors = f.scale_cols == kBlockCols ? 0 : to_cache_line(n / static_cast<size_t>(f.group) * kPanelRows);
  s.scales = n * kPanelRows / 8 * static_cast<size_t>(f.bits);
  s.minima = s.scales + scales;
  s.factors = s.minima + (f.has_min ? scales : 0);
  s.min_factors = s.factors + factors;
  s.bytes = s.min_factors + (f.has_min ? factors : 0);
  return s;
}

static inline constexpr int panel_count(int rows) { return (rows + kPanelRows - 1) / kPanelRows; }

static inline constexpr size_t panel_bytes(const Weight& w) {
  return panel_sections(w.type, w.cols).bytes * static_cast<size_t>(panel_count(w.rows));
}

// Packs panel `index` of `rows` into `panel` (panel_sections().bytes bytes). Rows past the last are zero. Any thread.
void pack_panel(const Weight& rows, int index, uint8_t* panel);

}  // namespace longleaf::kernels
