// What the matrix products of all weight formats share: tiles of tokens, and panels of one product. Compiled once per
// instruction set; see simd.h for what may not stand here.
#pragma once

#include "kernels/fast_cpu.h"
#include "kernels/panels.h"
#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {

constexpr int kTile = LONGLEAF_SIMD_BYTES >= 64 ? 12 : 4;  // tokens whose sums stay in registers
constexpr int kFewTokens = 4;

// Tokens of the tile that begins with `rest` tokens left.
static inline int tile_size(int rest) { return rest >= kTile ? kTile : rest >= kFewTokens ? kFewTokens : 1; }

// R panels of one product.
template <int R>
struct Panels {
  const PackedWeight& w;
  const float* bias;
  float* out;
  int index;  // of the first panel
  const uint8_t* at[R];

  template <int T>
  void write(int token, int lane, Vf (&sums)[T][R]) const {
    for (int r = 0; r < R; ++r) {
      const int row = (index + r) * kPanelRows + lane, rest = w.rows - row, n = rest < kWidth ? rest : kWidth;
      for (int t = 0; n > 0 && t < T; ++t) {
        for (int i = 0; bias != nullptr && i < n; ++i) sums[t][r][i] += bias[row + i];
        std::memcpy(out + int64_t{token + t} * w.rows + row, &sums[t][r], static_cast<size_t>(n) * 4);
      }
    }
  }
};

// Calls multiply.template panels<R>(Panels<R>) for panels [begin, end): in pairs, but where a format says so one by one
// for a few tokens, which wait for memory. On Zen 4 it is read fastest in two streams per thread where instructions
// take codes as they are stored, and in one where they are unpacked.
template <typename Multiply>
static inline void for_panels(const PackedWeight& w, const float* bias, int n_tokens, float* out, int begin, int end,
                              const Multiply& multiply) {
  const size_t stride = bytes_per_panel(w.type, w.cols);
  const auto* panels = reinterpret_cast<const uint8_t*>(w.data) + stride * static_cast<size_t>(begin);
  int index = begin;
  for (; !Multiply::kFewInPairs && n_tokens < kTile && index < end; ++index, panels += stride)
    multiply.panels(Panels<1>{w, bias, out, index, {panels}});
  for (; index + 2 <= end; index += 2, panels += 2 * stride)
    multiply.panels(Panels<2>{w, bias, out, index, {panels, panels + stride}});
  if (index < end) multiply.panels(Panels<1>{w, bias, out, index, {panels}});
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
