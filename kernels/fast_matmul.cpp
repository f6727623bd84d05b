// Matrix products over packed weights. Compiled once per instruction set; see simd.h for what may not stand here.
// One lane sums one output, column by column, so neither the batch nor the width of vectors changes a bit (but a
// processor without fused multiply-add rounds once more).
#include <iterator>
#include <utility>

#include "kernels/blocks.h"
#include "kernels/fast_cpu.h"
#include "kernels/panels.h"
#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

constexpr int kSlices = kPanelRows / kWidth;               // vectors that make up a panel's rows
constexpr int kTile = LONGLEAF_SIMD_BYTES >= 64 ? 16 : 4;  // tokens whose sums stay in registers
constexpr int kWords = 8;                                  // of 64 bytes, in a block of 32 columns
constexpr int8_t kBias[4] = {-128, -128, -128, -128};      // 128 as unsigned bytes

// Tokens of the tile that begins with `rest` tokens left.
inline int tile_size(int rest) { return rest >= kTile ? kTile : rest >= 4 ? 4 : 1; }

// --- activations ---

// One token's block of 32 as int8: codes = round(x * 127/max|x|), half to even.
inline void quantize_block(const float* x, int8_t* codes, float& scale, float* half_sums) {
  constexpr int kVectors = kBlockCols / kWidth;
  Vf top = {};
  for (int i = 0; i < kVectors; ++i) {
    const Vf v = load(x + i * kWidth), magnitude = v < 0.0f ? -v : v;
    top = magnitude > top ? magnitude : top;
  }
  float largest = 0;
  for (int i = 0; i < kWidth; ++i) largest = top[i] > largest ? top[i] : largest;
  scale = largest / 127.0f;
  const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
  const Vf shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  int32_t values[kBlockCols];
  for (int i = 0; i < kVectors; ++i) {
    const Vi rounded = __builtin_convertvector((load(x + i * kWidth) * inverse + shifter) - shifter, Vi);
    std::memcpy(values + i * kWidth, &rounded, sizeof rounded);
  }
  int sums[2] = {0, 0};
  for (int i = 0; i < kBlockCols; ++i) sums[i / 16] += values[i];
  for (int i = 0; i < kBlockCols; ++i) codes[i] = static_cast<int8_t>(values[i] + (kBiasedDot ? 128 : 0));
  half_sums[0] = scale * static_cast<float>(sums[0]);
  half_sums[1] = scale * static_cast<float>(sums[1]);
}

void prepare_quantized(const float* x, int cols, int first, int size, const Activations& to) {
  const int blocks = cols / kBlockCols;
  const int64_t base = int64_t{first} * blocks;
  for (int b = 0; b < blocks; ++b) {
    for (int t = 0; t < size; ++t) {
      const int64_t at = base + int64_t{b} * size + t;
      float half_sums[2];
      quantize_block(x + int64_t{first + t} * cols + b * kBlockCols, to.codes + at * kBlockCols, to.scales[at],
                     half_sums);
      to.sums[at] = -(half_sums[0] + half_sums[1]);
      to.half_sums[2 * base + (int64_t{2 * b}) * size + t] = -half_sums[0];
      to.half_sums[2 * base + (int64_t{2 * b} + 1) * size + t] = -half_sums[1];
    }
  }
}

void prepare_floats(const float* x, int cols, int first, int size, const Activations& to) {
  float* out = to.floats + int64_t{first} * cols;
  for (int t = 0; t < size; ++t)
    for (int c = 0; c < cols; ++c) out[int64_t{c} * size + t] = x[int64_t{first + t} * cols + c];
}

// --- quantized weights ---

struct Panel {
  const uint8_t *codes, *scales, *minima, *factors, *min_factors;
};

template <DType kType>
inline void load_codes(const uint8_t* block, Vb (&w)[kWords]) {
  constexpr PanelFormat f = panel_format(kType);
  const auto word = [&](int i) { return load_bytes(block + 64 * i); };
  if constexpr (f.bits == 8) {
    for (int j = 0; j < kWords; ++j) w[j] = word(j);
    return;
  }
  // Shifts of whole 16-bit lanes: what crosses a byte is masked away.
  typedef uint16_t Vw __attribute__((vector_size(LONGLEAF_SIMD_BYTES)));
  const auto bits = [](Vb v, int shift, int mask) { return (Vb)((Vw)v >> shift) & static_cast<int8_t>(mask); };
  const auto raised = [](Vb v, int shift) { return (Vb)((Vw)v << shift); };
  constexpr bool kNibbles = f.bits >= 4;
  constexpr int kHigh = kNibbles ? f.bits - 4 : f.bits;  // bits above the nibbles
  constexpr int kHighAt = kNibbles ? 4 : 0, kPairWords = kNibbles ? 4 : 0;
  constexpr int kBitWord = kPairWords + (kHigh >= 2 ? 2 : 0), kBitAt = kHighAt + (kHigh >= 2 ? 2 : 0);
#pragma GCC unroll 8
  for (int j = 0; j < kWords; ++j) {
    Vb code = {};
    if constexpr (kNibbles) code = bits(word(j % 4), j / 4 * 4, 15);
    if constexpr (kHigh >= 2) code |= raised(bits(word(kPairWords + j % 2), j / 2 * 2, 3), kHighAt);
    if constexpr (kHigh % 2 == 1) code |= raised(bits(word(kBitWord), j, 1), kBitAt);
    if constexpr (f.offset != 0) code -= static_cast<int8_t>(f.offset);
    if constexpr (f.has_table) code = look_up(kType == DType::MXFP4 ? kFp4Values : kIq4Values, code);
    w[j] = code;
  }
}

template <DType kType>
inline Vf load_scale(const uint8_t* p) {
  if constexpr (panel_format(kType).bfloat_scales)
    return load_bfloat(p);
  else
    return load_half(p);
}

// The scale (or minimum) of group `group` of the panel's row.
template <DType kType, bool kSigned>
inline Vf group_scale(const uint8_t* scales, const uint8_t* factors, int group) {
  constexpr PanelFormat f = panel_format(kType);
  const Vf d = load_scale<kType>(scales + int64_t{group} * f.group / f.scale_cols * kPanelRows * 2);
  if constexpr (f.scale_cols == kBlockCols) return d;
  const uint8_t* factor = factors + int64_t{group} * kPanelRows;
  return d * (kSigned ? load_int8(factor) : load_uint8(factor));
}

template <DType kType, int T>
inline void quantized_tile(const Panel& p, const Activations& x, int64_t base, int blocks, Vf (&sums)[T]) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr int kGroups = kBlockCols / f.group, kGroupWords = kWords / kGroups;
  const int8_t* codes = x.codes + base * kBlockCols;
  const float* scales = x.scales + base;
  const float* minima = kGroups == 1 ? x.sums + base : x.half_sums + 2 * base;
  for (int b = 0; b < blocks; ++b) {
    Vb w[kWords];
    load_codes<kType>(p.codes + int64_t{b} * f.bits * 64, w);
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g) {
      const Vf scale = group_scale<kType, true>(p.scales, p.factors, b * kGroups + g);
      Vf min = {};
      if constexpr (f.has_min) min = group_scale<kType, false>(p.minima, p.min_factors, b * kGroups + g);
      Vi start = {};
      if constexpr (kBiasedDot) {
#pragma GCC unroll 8
        for (int j = 0; j < kGroupWords; ++j) start = dot4(start, kBias, w[g * kGroupWords + j]);
        start = -start;
      }
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const int8_t* own = codes + (int64_t{b} * T + t) * kBlockCols + g * f.group;
        Vi dot = start;
#pragma GCC unroll 8
        for (int j = 0; j < kGroupWords; ++j) dot = dot4(dot, own + 4 * j, w[g * kGroupWords + j]);
        sums[t] = fma(__builtin_convertvector(dot, Vf), scale * scales[int64_t{b} * T + t], sums[t]);
        if constexpr (f.has_min) sums[t] = fma(min, splat(minima[(int64_t{b} * kGroups + g) * T + t]), sums[t]);
      }
    }
  }
}

// --- weights in floating point ---

template <DType kType>
inline Vf load_weights(const uint8_t* p) {
  if constexpr (kType == DType::F32) return load(reinterpret_cast<const float*>(p));
  if constexpr (kType == DType::BF16) return load_bfloat(p);
  return load_half(p);
}

template <DType kType, int T>
inline void float_tile(const uint8_t* panel, const float* x, int cols, Vf (&sums)[T]) {
  constexpr int kStep = kPanelRows * format_of(kType).bytes;
  for (int c = 0; c < cols; ++c) {
    const Vf w = load_weights<kType>(panel + int64_t{c} * kStep);
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) sums[t] = fma(w, splat(x[int64_t{c} * T + t]), sums[t]);
  }
}

// --- the product ---

template <DType kType, int T>
inline void tile(const PackedWeight& w, const float* bias, const Activations& x, int first, float* out, int index) {
  const PanelSections s = panel_sections(kType, w.cols);
  const auto* panel = reinterpret_cast<const uint8_t*>(w.data) + s.bytes * static_cast<size_t>(index);
  for (int slice = 0; slice < kSlices; ++slice) {
    const int row = index * kPanelRows + slice * kWidth;
    if (row >= w.rows) return;
    Vf sums[T] = {};
    if constexpr (is_quantized(kType)) {
      const auto lanes = static_cast<size_t>(slice * kWidth);
      const uint8_t* p = panel;
      quantized_tile<kType, T>({p + lanes * 4, p + s.scales + lanes * 2, p + s.minima + lanes * 2,
                                p + s.factors + lanes, p + s.min_factors + lanes},
                               x, int64_t{first} * (w.cols / kBlockCols), w.cols / kBlockCols, sums);
    } else {
      float_tile<kType, T>(panel + slice * kWidth * format_of(kType).bytes, x.floats + int64_t{first} * w.cols, w.cols,
                           sums);
    }
    const int rows = w.rows - row < kWidth ? w.rows - row : kWidth;
    for (int t = 0; t < T; ++t) {
      float* to = out + int64_t{first + t} * w.rows + row;
      for (int r = 0; bias != nullptr && r < rows; ++r) sums[t][r] += bias[row + r];
      std::memcpy(to, &sums[t], static_cast<size_t>(rows) * 4);
    }
  }
}

template <DType kType>
void multiply(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out, int begin,
              int end) {
  for (int index = begin; index < end; ++index) {
    for (int t = 0; t < n_tokens;) {
      const int size = tile_size(n_tokens - t);
      if (size == kTile)
        tile<kType, kTile>(w, bias, x, t, out, index);
      else if (size == 4)
        tile<kType, 4>(w, bias, x, t, out, index);
      else
        tile<kType, 1>(w, bias, x, t, out, index);
      t += size;
    }
  }
}

template <size_t... I>
constexpr auto multipliers(std::index_sequence<I...>) {
  using Multiply = void (*)(const PackedWeight&, const float*, const Activations&, int, float*, int, int);
  struct Table {
    Multiply of[sizeof...(I)];
  };
  return Table{{multiply<static_cast<DType>(I)>...}};
}
constexpr auto kMultipliers = multipliers(std::make_index_sequence<std::size(kFormats)>());

}  // namespace

const int kTileTokens = kTile;

void matmul_panels(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out, int begin,
                   int end) {
  kMultipliers.of[static_cast<size_t>(w.type)](w, bias, x, n_tokens, out, begin, end);
}

void prepare_activations(const float* x, int cols, int first, int last, bool quantized, const Activations& to) {
  for (int t = first; t < last;) {
    const int size = tile_size(last - t);
    (quantized ? prepare_quantized : prepare_floats)(x, cols, t, size, to);
    t += size;
  }
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
