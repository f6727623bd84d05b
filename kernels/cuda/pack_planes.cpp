#include "kernels/cuda/planes.h"

#include "kernels/codes.h"

namespace longleaf::kernels::cuda {
namespace {

// The order in which words of four columns lie side by side: as lanes of a tensor core want them, two at a time.
constexpr int kWordOrder[8] = {0, 4, 1, 5, 2, 6, 3, 7};

struct PlaneWriter {
  const Weight& rows;
  uint8_t* out;
  PanelFormat format = panel_format(rows.type);
  Planes planes = planes_of(rows.type, rows.rows, rows.cols);

  void put_codes(const uint8_t* stored, int row, int block) const {
    const int64_t index = int64_t{row} * (rows.cols / kBlockCols) + block;
    uint32_t words[8];
    plane_words(format, stored, words);
    const uint32_t* next = words;
    const auto put = [&](int64_t plane, int n) {
      std::memcpy(out + plane + index * n * 4, next, static_cast<size_t>(n) * 4);
      next += n;
    };
    if (format.bits == 8) {
      for (int i = 0; i < 8; ++i) {
        const uint32_t is_signed = words[kWordOrder[i]] ^ 0x80808080u;
        std::memcpy(out + planes.bytes + index * 32 + i * 4, &is_signed, 4);
      }
      return;
    }
    if (format.bits >= 4) put(planes.nibbles, 4);
    if ((format.bits & 2) != 0) put(planes.pairs, 2);
    if (format.bits % 2 == 1) put(planes.singles, 1);
  }

  void put_scale(int64_t plane, int column, int row, float value) const {
    const uint16_t bits = scale_bits(format, value);
    std::memcpy(out + plane + (int64_t{column} * planes.rows_padded + row) * 2, &bits, 2);
  }

  // Values first … of `row`, taken apart.
  void put(const Block& block, int first, int row) const {
    const int values = format_of(rows.type).values;
    uint8_t stored[kMaxBlock];
    for (int i = 0; i < values; ++i) stored[i] = stored_code(rows.type, format, block.code[i]);
    for (int c = 0; c < values; c += kBlockCols) put_codes(stored + c, row, (first + c) / kBlockCols);
    put_scale(planes.scales, first / format.scale_cols, row, block.d);
    if (format.has_min) put_scale(planes.minima, first / format.scale_cols, row, block.dmin);
    if (format.scale_cols == kBlockCols) return;
    for (int c = 0; c < values; c += format.group) {
      const int64_t place = int64_t{(first + c) / format.group} * planes.rows_padded + row;
      out[planes.factors + place] = static_cast<uint8_t>(block.scale[c / kGroupValues]);
      if (format.has_min) out[planes.min_factors + place] = block.min[c / kGroupValues];
    }
  }
};

}  // namespace

void pack_planes(const Weight& rows, int first, int last, uint8_t* planes) {
  const size_t stride = row_bytes(rows.type, rows.cols);
  const uint8_t* stored = rows.data;
  if (!is_quantized(rows.type)) {
    const size_t padded = row_bytes(rows.type, padded_cols(rows.cols));
    for (auto r = static_cast<size_t>(first); r < static_cast<size_t>(last); ++r)
      std::memcpy(planes + r * padded, stored + r * stride, stride);
    return;
  }
  const PlaneWriter writer{rows, planes};
  const Format& format = format_of(rows.type);
  Block block;
  for (int r = first; r < last; ++r) {
    const uint8_t* from = stored + static_cast<size_t>(r) * stride;
    for (int c = 0; c < rows.cols; c += format.values, from += format.bytes) {
      unpack_block(rows.type, from, block);
      writer.put(block, c, r);
    }
  }
}

}  // namespace longleaf::kernels::cuda
