// Matrix products with bfloat16 weights. Compiled once per instruction set, and once more for processors that multiply
// pairs of bfloat16 (vdpbf16ps); see simd.h for what may not stand here. One lane sums one output, pair of columns by
// pair: the batch changes no bit.
#include "kernels/fast_panels.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

#ifdef __AVX512BF16__
constexpr bool kPairs = true;  // activations are pairs of bfloat16
#else
constexpr bool kPairs = false;  // … are floats, rounded likewise
#endif

typedef uint32_t Vu __attribute__((vector_size(LONGLEAF_SIMD_BYTES), may_alias));

// The bits of x as bfloat16, to nearest even, in the upper halves; the lower are zero. NaN stays NaN.
inline Vu rounded_bits(Vf x) {
  Vu bits;
  std::memcpy(&bits, &x, sizeof bits);
  const Vu nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
  return x == x ? nearest : bits | 0x00400000u;
}

// One row of `cols` numbers into words that lie `stride` apart.
void prepare_row(const float* x, int cols, uint32_t* out, int stride) {
  uint32_t rounded[kWidth];
  for (int c = 0; c < cols; c += kWidth) {
    const int n = cols - c < kWidth ? cols - c : kWidth;
    Vf v = {};
    std::memcpy(&v, x + c, static_cast<size_t>(n) * 4);
    const Vu bits = rounded_bits(v);
    std::memcpy(rounded, &bits, sizeof bits);
    for (int i = 0; kPairs && i < n; i += 2)
      out[int64_t{(c + i) / 2} * stride] = rounded[i] >> 16 | (i + 1 < n ? rounded[i + 1] : 0);
    for (int i = 0; !kPairs && i < n; ++i) out[int64_t{c + i} * stride] = rounded[i];
  }
}

// The words of a token.
inline int words_of(int cols) { return kPairs ? (cols + 1) / 2 : cols; }

// sums[t] += the products of two columns: `word` has those of the weights, `x` those of T tokens.
template <int R, int T>
inline void add_pair(const Vu (&word)[R], const uint32_t* x, bool has_second, Vf (&sums)[T][R]) {
#ifdef __AVX512BF16__
  (void)has_second;
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    const auto own = (__m512bh)_mm512_set1_epi32(static_cast<int>(x[t]));
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) sums[t][r] = (Vf)_mm512_dpbf16_ps((__m512)sums[t][r], (__m512bh)word[r], own);
  }
#else
  Vf first[R], second[R];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) {
    const Vu low = word[r] << 16, high = word[r] & 0xffff0000u;
    std::memcpy(&first[r], &low, sizeof low);
    std::memcpy(&second[r], &high, sizeof high);
  }
  const float* own = reinterpret_cast<const float*>(x);
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) sums[t][r] = fma(first[r], splat(own[t]), sums[t][r]);
  if (!has_second) return;
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t)
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) sums[t][r] = fma(second[r], splat(own[T + t]), sums[t][r]);
#endif
}

struct Multiply {
  static constexpr bool kFewInPairs = false;
  const uint32_t* x;
  int n_tokens, cols;

  template <int R, int T>
  void tile(const Panels<R>& p, int token) const {
    constexpr int kWordsOfPair = kPairs ? 1 : 2;
    for (int lane = 0; lane < kPanelRows; lane += kWidth) {
      Vf sums[T][R] = {};
      const uint32_t* own = x + int64_t{token} * words_of(cols);
      for (int c = 0; c < cols; c += 2, own += kWordsOfPair * T) {
        Vu word[R];
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r)
          std::memcpy(&word[r], p.at[r] + int64_t{c / 2} * 4 * kPanelRows + 4 * lane, sizeof word[r]);
        add_pair<R, T>(word, own, c + 1 < cols, sums);
      }
      p.write(token, lane, sums);
    }
  }

  template <int R>
  void panels(const Panels<R>& p) const {
    int t = 0;
    for (; t + kTile <= n_tokens; t += kTile) tile<R, kTile>(p, t);
    for (; t + kFewTokens <= n_tokens; t += kFewTokens) tile<R, kFewTokens>(p, t);
    for (; t < n_tokens; ++t) tile<R, 1>(p, t);
  }
};

}  // namespace

void prepare_bfloat(const float* x, int cols, int first, int last, uint32_t* to) {
  for (int t = first; t < last;) {
    const int size = tile_size(last - t);
    for (int i = 0; i < size; ++i)
      prepare_row(x + int64_t{t + i} * cols, cols, to + int64_t{t} * words_of(cols) + i, size);
    t += size;
  }
}

void matmul_bfloat(const PackedWeight& w, const float* bias, const Activations& x, int n_tokens, float* out, int begin,
                   int end) {
  for_panels(w, bias, n_tokens, out, begin, end, Multiply{x.bfloats, n_tokens, w.cols});
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
