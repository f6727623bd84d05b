// Matrix products over packed weights. Compiled once per instruction set; see simd.h for what may not stand here.
// One lane sums one output, column by column, so neither the batch nor the width of vectors changes a bit (but a
// processor without fused multiply-add rounds once more).
#include <iterator>
#include <utility>

#include "kernels/blocks.h"
#include "kernels/fast_panels.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

constexpr int kWords = 8;  // of 64 bytes, in a block of 32 columns
static_assert(kExpandedPanelBlock == kBlockCols * kPanelRows + 4 * kPanelRows * 4);

// --- activations ---

// A block with a number that is infinite or none: whatever is multiplied by it is none.
inline void spoil_block(int8_t* codes, float& scale, int32_t* half_sums) {
  std::memset(codes, 0, kBlockCols);
  scale = __builtin_nanf("");
  half_sums[0] = half_sums[1] = 0;
}

// One token's block of 32 as int8: codes = round(x * 127/max|x|), half to even.
inline void quantize_block(const float* x, int8_t* codes, float& scale, int32_t* half_sums) {
  constexpr int kVectors = kBlockCols / kWidth;
  Vf top = {}, zeros = {};
  for (int i = 0; i < kVectors; ++i) {
    const Vf v = load(x + i * kWidth), magnitude = v < 0.0f ? -v : v;
    top = magnitude > top ? magnitude : top;
    zeros += v * 0.0f;
  }
  const float zero = horizontal_sum(zeros);  // NaN where a number of the block is none
  if (zero != zero) return spoil_block(codes, scale, half_sums);
  const float largest = largest_lane(top);
  scale = largest / 127.0f;
  const float inverse = largest > 1e-36f ? 127.0f / largest : 0.0f;  // not infinite; smaller blocks are zero
  const Vf shifter = splat(12582912.0f);                             // 1.5 * 2^23: adding it rounds to an integer
  Vi sums[2] = {};
  for (int i = 0; i < kVectors; ++i) {
    const Vi rounded = __builtin_convertvector((load(x + i * kWidth) * inverse + shifter) - shifter, Vi);
    store_int8(codes + i * kWidth, rounded);
    sums[2 * i / kVectors] -= rounded;
  }
  half_sums[0] = sum_lanes(sums[0]);
  half_sums[1] = sum_lanes(sums[1]);
}

void prepare_quantized(const float* x, int cols, int first, int size, const Activations& to) {
  const int blocks = cols / kBlockCols;
  const int64_t base = int64_t{first} * blocks;
  for (int b = 0; b < blocks; ++b) {
    for (int t = 0; t < size; ++t) {
      const int64_t at = base + int64_t{b} * size + t;
      int32_t half_sums[2];
      quantize_block(x + int64_t{first + t} * cols + b * kBlockCols, to.codes + at * kBlockCols, to.scales[at],
                     half_sums);
      to.sums[at] = half_sums[0] + half_sums[1];
      to.minima[at] = to.scales[at] * static_cast<float>(to.sums[at]);
      for (int half = 0; half < 2; ++half) {
        const int64_t place = 2 * base + (int64_t{2 * b} + half) * size + t;
        to.half_sums[place] = half_sums[half];
        to.half_minima[place] = to.scales[at] * static_cast<float>(half_sums[half]);
      }
    }
  }
}

void prepare_floats(const float* x, int cols, int first, int size, const Activations& to) {
  float* out = to.floats + int64_t{first} * cols;
  for (int t = 0; t < size; ++t)
    for (int c = 0; c < cols; ++c) out[int64_t{c} * size + t] = x[int64_t{first + t} * cols + c];
}

// --- quantized weights ---

// Bits of the codes that are multiplied.
constexpr int code_bits(DType type) { return panel_format(type).has_table ? 8 : panel_format(type).bits; }
constexpr bool has_unsigned_codes(DType type) { return code_bits(type) <= kMostUnsignedBits; }

struct CodeTable {
  int8_t of[16];
};

// What codes stand for, with the offset where dot4 wants them unsigned.
constexpr CodeTable table_of(const int8_t* values) {
  CodeTable table{};
  for (int i = 0; i < 16; ++i) table.of[i] = static_cast<int8_t>(values[i] + (kMostUnsignedBits == 8 ? 128 : 0));
  return table;
}
constexpr CodeTable kIq4Table = table_of(kIq4Values), kFp4Table = table_of(kFp4Values);

// Byte by byte, modulo 256: stored codes of 8 bits are unsigned.
inline Vb minus(Vb codes, uint8_t offset) {
  typedef uint8_t Vu __attribute__((vector_size(LONGLEAF_SIMD_BYTES)));
  return (Vb)((Vu)codes - offset);
}

// Word `j` of a block: the codes of columns 4j … 4j+3, as dot4 wants them.
template <DType kType>
inline Vb load_word(const uint8_t* block, int j) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr uint8_t kTaken = has_unsigned_codes(kType) || f.has_table ? 0 : static_cast<uint8_t>(f.offset);
  const auto word = [&](int i) { return load_bytes(block + 64 * i); };
  if constexpr (f.bits == 8) return kTaken == 0 ? word(j) : minus(word(j), kTaken);
  // Shifts of whole 16-bit lanes: what crosses a byte is masked away.
  typedef uint16_t Vw __attribute__((vector_size(LONGLEAF_SIMD_BYTES)));
  const auto bits = [](Vb v, int shift, int mask) { return (Vb)((Vw)v >> shift) & static_cast<int8_t>(mask); };
  const auto raised = [](Vb v, int shift) { return (Vb)((Vw)v << shift); };
  constexpr bool kNibbles = f.bits >= 4;
  constexpr int kHigh = kNibbles ? f.bits - 4 : f.bits;  // bits above the nibbles
  constexpr int kHighAt = kNibbles ? 4 : 0, kPairWords = kNibbles ? 4 : 0;
  constexpr int kBitWord = kPairWords + (kHigh >= 2 ? 2 : 0), kBitAt = kHighAt + (kHigh >= 2 ? 2 : 0);
  Vb code = {};
  if constexpr (kNibbles) code = bits(word(j % 4), j / 4 * 4, 15);
  if constexpr (kHigh >= 2) code |= raised(bits(word(kPairWords + j % 2), j / 2 * 2, 3), kHighAt);
  if constexpr (kHigh % 2 == 1) code |= raised(bits(word(kBitWord), j, 1), kBitAt);
  if constexpr (f.has_table) return look_up(kType == DType::MXFP4 ? kFp4Table.of : kIq4Table.of, code);
  return kTaken == 0 ? code : minus(code, kTaken);
}

template <DType kType>
inline Vf load_scale(const uint8_t* p) {
  if constexpr (panel_format(kType).bfloat_scales)
    return load_bfloat(p);
  else
    return load_half(p);
}

// The scales (or minima) of a group of columns: 16-bit floats, times the group's factors where there are two levels.
template <DType kType, bool kSigned>
inline Vf group_scale(const uint8_t* scales, const uint8_t* factors) {
  const Vf d = load_scale<kType>(scales);
  if constexpr (panel_format(kType).scale_cols == kBlockCols) return d;
  return d * (kSigned ? load_int8(factors) : load_uint8(factors));
}

// The offset of all codes times minus the sum of a group of activations: where their dot product begins.
template <DType kType>
inline Vi start_of(const int32_t* minus_sum) {
  constexpr int kOffset = has_unsigned_codes(kType) ? panel_format(kType).offset : 0;
  static_assert((kOffset & (kOffset - 1)) == 0);
  if constexpr (kOffset == 0) return Vi{};
  return settle(splat4(minus_sum)) << __builtin_ctz(kOffset + (kOffset == 0));
}

// Where the codes, scales and sums of a tile of activations stand.
struct Inputs {
  const int8_t* codes;
  const float* scales;
  const int32_t* minus_sums;  // of whole or half blocks: what the format's groups are
  const float* minima;        // the same times the scales
};

// dots[t][r] += words [first, last) of a block; `load_code(r, j)` gives word j of panel r, as dot4 wants it. kRun: how
// many words are summed in 16 bits first.
template <int kRun, int R, int T, typename Load>
inline void dot_words(const Load& load_code, const int8_t* codes, int first, int last, Vi (&dots)[T][R]) {
#pragma GCC unroll 8
  for (int j = first; j < last; j += kRun) {
    [[maybe_unused]] Vs pairs[T][R] = {};
#pragma GCC unroll 8
    for (int i = j; i < j + kRun; ++i) {
      Vb w[R];
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) w[r] = load_code(r, i);
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const Vi four = splat4(codes + t * kBlockCols + 4 * i);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          if constexpr (kRun == 1)
            dots[t][r] = dot4(dots[t][r], four, w[r]);
          else
            pairs[t][r] = dot2(pairs[t][r], four, w[r]);
        }
      }
    }
    if constexpr (kRun > 1)
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) dots[t][r] = add_pairs(dots[t][r], pairs[t][r]);
  }
}

// Words of a group that are summed in 16 bits.
template <DType kType>
constexpr int run_of() {
  constexpr int words = panel_format(kType).group / 4, fit = dots_in_pairs(code_bits(kType));
  constexpr int kRun = words < fit ? words : fit;
  static_assert(words % kRun == 0);
  return kRun;
}

// What a block adds to the sums: fma(Σ_g scale_g * dot_g, the activations' scale, …), then the minima.
template <int R, int T, int kGroups>
inline void add_dots(const Vi (&dots)[kGroups][T][R], const Vf (&scales)[kGroups][R], const float* own,
                     Vf (&sums)[T][R]) {
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      Vf term = __builtin_convertvector(dots[0][t][r], Vf) * scales[0][r];
      if constexpr (kGroups == 2) term = fma(__builtin_convertvector(dots[1][t][r], Vf), scales[1][r], term);
      sums[t][r] = fma(term, splat(own[t]), sums[t][r]);
    }
  }
}

template <int R, int T>
inline void add_minima(const Vf (&minima)[R], const float* own, Vf (&sums)[T][R]) {
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) sums[t][r] = fma(minima[r], splat(own[t]), sums[t][r]);
}

// The scales and minima of group `group` of the unit at `unit`; `lane`: the panel's first row in this vector.
template <DType kType>
inline Vf unit_scale(const uint8_t* unit, int group, int lane) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr PanelUnit u = panel_unit(kType);
  const int at = u.blocks == 2 ? 32 * group : 0;  // two blocks with a scale each, one group per block
  return group_scale<kType, true>(
      unit + at + 2 * lane, f.scale_cols > kBlockCols ? unit + u.factors_at + group * kPanelRows + lane : nullptr);
}

template <DType kType>
inline Vf unit_minimum(const uint8_t* unit, int group, int lane) {
  return group_scale<kType, false>(unit + 32 + 2 * lane,
                                   unit + panel_unit(kType).min_factors_at + group * kPanelRows + lane);
}

// sums[t][r] += the products of T tokens and the R panels whose first units are at `unit`.
template <DType kType, int R, int T>
inline void packed_tile(const uint8_t* (&unit)[R], int lane, Inputs x, int blocks, Vf (&sums)[T][R]) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr PanelUnit u = panel_unit(kType);
  constexpr int kGroups = kBlockCols / f.group;
  for (int b = 0; b < blocks; ++b) {
    const int own = b % u.blocks;  // within the unit
    const uint8_t* block[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) block[r] = unit[r] + u.header + static_cast<size_t>(own) * u.block + 4 * lane;
    Vi dots[kGroups][T][R];
    Vf scales[kGroups][R];
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) dots[g][t][r] = start_of<kType>(x.minus_sums + g * T + t);
      const auto word = [&](int r, int j) { return load_word<kType>(block[r], j); };
      dot_words<run_of<kType>(), R, T>(word, x.codes, g * kWords / kGroups, (g + 1) * kWords / kGroups, dots[g]);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) scales[g][r] = unit_scale<kType>(unit[r], own * kGroups + g, lane);
    }
    add_dots<R, T, kGroups>(dots, scales, x.scales, sums);
    if constexpr (f.has_min) {
#pragma GCC unroll 2
      for (int g = 0; g < kGroups; ++g) {
        Vf minima[R];
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) minima[r] = unit_minimum<kType>(unit[r], own * kGroups + g, lane);
        add_minima<R, T>(minima, x.minima + g * T, sums);
      }
    }
    x.minus_sums += kGroups * T;
    x.minima += kGroups * T;
    x.codes += T * kBlockCols;
    x.scales += T;
    if (own == u.blocks - 1)
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) unit[r] += u.bytes;
  }
}

// --- many tokens: panels are unpacked once, to a byte per code and a float per scale ---

constexpr int kExpandedBlock = kExpandedPanelBlock;  // codes; two scales, two minima

// Panel `panel` → blocks of { codes, scales[groups], minima[groups] } at `to`.
template <DType kType>
inline void expand(const uint8_t* unit, int blocks, uint8_t* to) {
  constexpr PanelFormat f = panel_format(kType);
  constexpr PanelUnit u = panel_unit(kType);
  constexpr int kGroups = kBlockCols / f.group;
  for (int b = 0; b < blocks; ++b, to += kExpandedBlock) {
    const int own = b % u.blocks;
    for (int lane = 0; lane < kPanelRows; lane += kWidth) {
      const uint8_t* block = unit + u.header + static_cast<size_t>(own) * u.block + 4 * lane;
#pragma GCC unroll 8
      for (int j = 0; j < kWords; ++j) {
        const Vb word = load_word<kType>(block, j);
        std::memcpy(to + 64 * j + 4 * lane, &word, sizeof word);
      }
      float* floats = reinterpret_cast<float*>(to + kBlockCols * kPanelRows) + lane;
      for (int g = 0; g < kGroups; ++g) {
        store(floats + g * kPanelRows, unit_scale<kType>(unit, own * kGroups + g, lane));
        if constexpr (f.has_min)
          store(floats + (2 + g) * kPanelRows, unit_minimum<kType>(unit, own * kGroups + g, lane));
      }
    }
    if (own == u.blocks - 1) unit += u.bytes;
  }
}

// As packed_tile for T tokens of a whole tile, over expanded panels.
template <DType kType, int R, int T>
inline void expanded_tile(const uint8_t* (&block)[R], int lane, Inputs x, int blocks, Vf (&sums)[T][R]) {
  constexpr int kGroups = kBlockCols / panel_format(kType).group;
  for (int b = 0; b < blocks; ++b) {
    Vi dots[kGroups][T][R];
    Vf scales[kGroups][R];
#pragma GCC unroll 2
    for (int g = 0; g < kGroups; ++g) {
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const Vi start = start_of<kType>(x.minus_sums + g * kTile + t);
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) dots[g][t][r] = start;
      }
      const auto word = [&](int r, int j) { return load_bytes(block[r] + 64 * j + 4 * lane); };
      dot_words<run_of<kType>(), R, T>(word, x.codes, g * kWords / kGroups, (g + 1) * kWords / kGroups, dots[g]);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r)
        scales[g][r] = load(reinterpret_cast<const float*>(block[r] + kBlockCols * kPanelRows) + g * kPanelRows + lane);
    }
    add_dots<R, T, kGroups>(dots, scales, x.scales, sums);
    if constexpr (panel_format(kType).has_min) {
#pragma GCC unroll 2
      for (int g = 0; g < kGroups; ++g) {
        Vf minima[R];
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r)
          minima[r] =
              load(reinterpret_cast<const float*>(block[r] + kBlockCols * kPanelRows) + (2 + g) * kPanelRows + lane);
        add_minima<R, T>(minima, x.minima + g * kTile, sums);
      }
    }
    x.minus_sums += kGroups * kTile;
    x.minima += kGroups * kTile;
    x.codes += kTile * kBlockCols;
    x.scales += kTile;
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) block[r] += kExpandedBlock;
  }
}

// --- weights in floating point ---

template <DType kType>
inline Vf load_weights(const uint8_t* p) {
  if constexpr (kType == DType::F32) return load(reinterpret_cast<const float*>(p));
  return load_half(p);
}

template <DType kType, int R, int T>
inline void float_tile(const uint8_t* const (&panels)[R], const float* x, int cols, Vf (&sums)[T][R]) {
  constexpr int kStep = kPanelRows * format_of(kType).bytes;
  for (int c = 0; c < cols; ++c) {
    Vf w[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      w[r] = load_weights<kType>(panels[r] + int64_t{c} * kStep);
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const Vf own = splat(x[int64_t{c} * T + t]);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) sums[t][r] = fma(w[r], own, sums[t][r]);
    }
  }
}

// --- the product ---

template <DType kType>
inline Inputs inputs_of(const Activations& x, int first, int blocks) {
  const int64_t base = int64_t{first} * blocks;
  const bool whole = panel_format(kType).group == kBlockCols;
  return {x.codes + base * kBlockCols, x.scales + base, whole ? x.sums + base : x.half_sums + 2 * base,
          whole ? x.minima + base : x.half_minima + 2 * base};
}

// T tokens from `first` on, straight from the packed panels.
template <DType kType, int R, int T>
inline void multiply_tile(const Panels<R>& p, const Activations& x, int first) {
  const int blocks = p.w.cols / kBlockCols;
  for (int lane = 0; lane < kPanelRows; lane += kWidth) {
    Vf sums[T][R] = {};
    const uint8_t* at[R];
    for (int r = 0; r < R; ++r) at[r] = p.at[r];
    if constexpr (is_quantized(kType)) {
      packed_tile<kType, R, T>(at, lane, inputs_of<kType>(x, first, blocks), blocks, sums);
    } else {
      for (int r = 0; r < R; ++r) at[r] += lane * format_of(kType).bytes;
      float_tile<kType, R, T>(at, x.floats + int64_t{first} * p.w.cols, p.w.cols, sums);
    }
    p.write(first, lane, sums);
  }
}

// Whole tiles of tokens through expanded panels. Returns how many tokens are done.
template <DType kType, int R>
inline int multiply_expanded(const Panels<R>& p, const Activations& x, int n_tokens, uint8_t* scratch) {
  // Sums of four tokens and two panels stay in registers; those of a whole tile would not, and were slower.
  constexpr int kStep = kFewTokens;
  const int blocks = p.w.cols / kBlockCols;
  for (int r = 0; r < R; ++r) expand<kType>(p.at[r], blocks, scratch + int64_t{r} * blocks * kExpandedBlock);
  int first = 0;
  for (; first + kTile <= n_tokens; first += kTile) {
    for (int part = 0; part < kTile; part += kStep) {
      Inputs own = inputs_of<kType>(x, first, blocks);
      own.codes += part * kBlockCols;
      own.scales += part;
      own.minus_sums += part;
      own.minima += part;
      for (int lane = 0; lane < kPanelRows; lane += kWidth) {
        Vf sums[kStep][R] = {};
        const uint8_t* at[R];
        for (int r = 0; r < R; ++r) at[r] = scratch + int64_t{r} * blocks * kExpandedBlock;
        expanded_tile<kType, R, kStep>(at, lane, own, blocks, sums);
        p.write(first + part, lane, sums);
      }
    }
  }
  return first;
}

template <DType kType>
struct Multiply {
  static constexpr bool kFewInPairs = kType == DType::Q8_0 && has_unsigned_codes(kType);
  const Activations& x;
  int n_tokens;
  uint8_t* scratch;

  template <int R>
  void panels(const Panels<R>& p) const {
    int t = 0;
    if constexpr (is_quantized(kType)) {
      if (n_tokens >= kTile) t = multiply_expanded<kType, R>(p, x, n_tokens, scratch);
    } else {
      for (; t + kTile <= n_tokens; t += kTile) multiply_tile<kType, R, kTile>(p, x, t);
    }
    for (; t + kFewTokens <= n_tokens; t += kFewTokens) multiply_tile<kType, R, kFewTokens>(p, x, t);
    for (; t < n_tokens; ++t) multiply_tile<kType, R, 1>(p, x, t);
  }
};

template <DType kType>
void multiply(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out, int begin,
              int end, uint8_t* scratch) {
  for_panels(w, bias, n_tokens, out, begin, end, Multiply<kType>{x, n_tokens, scratch});
}

template <size_t... I>
constexpr auto multipliers(std::index_sequence<I...>) {
  using Multiply = void (*)(const PackedWeight&, const float*, const Activations&, int, float*, int, int, uint8_t*);
  struct Table {
    Multiply of[sizeof...(I)];
  };
  constexpr auto kBfloat = static_cast<size_t>(DType::BF16);  // fast_bfloat.cpp
  return Table{{(I == kBfloat ? nullptr : multiply < I == kBfloat ? DType::F16 : static_cast<DType>(I) >)...}};
}
constexpr auto kMultipliers = multipliers(std::make_index_sequence<std::size(kFormats)>());

}  // namespace

const int kTileTokens = kTile;

void matmul_panels(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out, int begin,
                   int end, uint8_t* scratch) {
  kMultipliers.of[static_cast<size_t>(w.type)](w, bias, x, n_tokens, out, begin, end, scratch);
}

void prepare_activations(const float* x, int cols, int first, int last, bool quantized, const Activations& to) {
  for (int t = first; t < last;) {
    const int size = tile_size(last - t);
    (quantized ? prepare_quantized : prepare_floats)(x, cols, t, size, to);
    t += size;
  }
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
