#include "kernels/codes.h"

namespace longleaf::kernels {
namespace {

template <typename T>
void copy_columns(const Weight& rows, int first, int n_rows, uint8_t* panel) {
  const auto* from = reinterpret_cast<const T*>(rows.data) + int64_t{first} * rows.cols;
  auto* to = reinterpret_cast<T*>(panel);
  for (int c = 0; c < rows.cols; ++c)
    for (int r = 0; r < n_rows; ++r) to[c * kPanelRows + r] = from[int64_t{r} * rows.cols + c];
}

void copy_pairs(const Weight& rows, int first, int n_rows, uint8_t* panel) {
  for (int r = 0; r < n_rows; ++r) {
    const auto* row = reinterpret_cast<const uint16_t*>(rows.data) + int64_t{first + r} * rows.cols;
    for (int c = 0; c < rows.cols; ++c)
      std::memcpy(panel + int64_t{c / 2} * 4 * kPanelRows + 4 * r + 2 * (c % 2), row + c, 2);
  }
}

struct PanelWriter {
  DType type;
  PanelFormat format = panel_format(type);
  PanelUnit unit = panel_unit(type);
  uint8_t* panel;

  void put_half(uint8_t* to, int row, float value) const {
    const uint16_t bits = scale_bits(format, value);
    std::memcpy(to + 2 * row, &bits, 2);
  }

  // Block number `index` of `row`, taken apart.
  void put(const Block& block, int index, int row) const {
    const int values = format_of(type).values, first = index * values / kBlockCols;  // in blocks of 32 columns
    uint8_t* at = panel + static_cast<size_t>(first / unit.blocks) * unit.bytes;
    uint8_t* codes = at + unit.header + static_cast<size_t>(first % unit.blocks) * unit.block;
    uint8_t stored[kMaxBlock];
    for (int i = 0; i < values; ++i) stored[i] = stored_code(type, format, block.code[i]);
    for (int c = 0; c < values; c += kBlockCols, codes += unit.block) {
      uint32_t words[8];
      plane_words(format, stored + c, words);
      for (int i = 0; i < format.bits; ++i) std::memcpy(codes + i * 64 + 4 * row, words + i, 4);
    }
    put_half(at + (format.has_min ? 0 : 32 * (first % unit.blocks)), row, block.d);
    if (format.has_min) put_half(at + 32, row, block.dmin);
    if (format.scale_cols == kBlockCols) return;
    for (int c = 0; c < values; c += format.group) {
      const int place = c / format.group * kPanelRows + row;
      at[unit.factors_at + static_cast<size_t>(place)] = static_cast<uint8_t>(block.scale[c / kGroupValues]);
      if (format.has_min) at[unit.min_factors_at + static_cast<size_t>(place)] = block.min[c / kGroupValues];
    }
  }
};

}  // namespace

void pack_panel(const Weight& rows, int index, uint8_t* panel) {
  const int first = index * kPanelRows, n_rows = rows.rows - first < kPanelRows ? rows.rows - first : kPanelRows;
  std::memset(panel, 0, bytes_per_panel(rows.type, rows.cols));
  if (rows.type == DType::F32) return copy_columns<uint32_t>(rows, first, n_rows, panel);
  if (rows.type == DType::BF16) return copy_pairs(rows, first, n_rows, panel);
  if (!is_quantized(rows.type)) return copy_columns<uint16_t>(rows, first, n_rows, panel);
  const Format& format = format_of(rows.type);
  const PanelWriter writer{.type = rows.type, .panel = panel};
  Block block;
  for (int r = 0; r < n_rows; ++r) {
    const auto* from =
        rows.data + static_cast<size_t>(first + r) * row_bytes(rows.type, rows.cols);
    for (int i = 0; i < rows.cols / format.values; ++i) {
      unpack_block(rows.type, from + static_cast<size_t>(i) * static_cast<size_t>(format.bytes), block);
      writer.put(block, i, r);
    }
  }
}

}  // namespace longleaf::kernels
