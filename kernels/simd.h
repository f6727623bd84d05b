// One vector type per instruction set, through GCC/Clang vector extensions; intrinsics only for what they cannot say.
// Compiled once per instruction set (LONGLEAF_ISA), so nothing here or in its users may be an ordinary inline
// function or a std template: the linker would merge the copies and an old processor could meet new instructions.
#pragma once

#ifdef LONGLEAF_X86
#include <immintrin.h>
#endif
#ifdef LONGLEAF_ARM
#include <arm_neon.h>
#endif

#include <cstdint>
#include <cstring>

#include "kernels/half.h"

namespace longleaf::kernels::LONGLEAF_ISA {

constexpr int kWidth = LONGLEAF_SIMD_BYTES / 4;
typedef float Vf __attribute__((vector_size(LONGLEAF_SIMD_BYTES), may_alias));
typedef int32_t Vi __attribute__((vector_size(LONGLEAF_SIMD_BYTES), may_alias));

typedef int8_t Vb __attribute__((vector_size(LONGLEAF_SIMD_BYTES), may_alias));

// Memory that is read and written need not be aligned; variables are, so the types say so (clang holds them to it).
static inline Vf load(const float* p) {
  Vf v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline void store(float* p, Vf v) { std::memcpy(p, &v, sizeof v); }
static inline Vf splat(float x) { return x - Vf{}; }  // not 0 + x, which is no copy: -0 becomes 0

static inline Vb load_bytes(const uint8_t* p) {
  Vb v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
static inline uint32_t four_bytes(const void* p) {
  uint32_t bytes;
  std::memcpy(&bytes, p, 4);
  return bytes;
}

// Widening and narrowing by intrinsics: GCC 12 does it through scalars.
static inline Vf load_int8(const uint8_t* p) {
#if defined(__AVX512F__)
  return (Vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return (Vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(p)));
#elif defined(LONGLEAF_ARM)
  return (Vf)vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four_bytes(p)))))));
#else
  Vf values;
  for (int i = 0; i < kWidth; ++i) values[i] = static_cast<float>(static_cast<int8_t>(p[i]));
  return values;
#endif
}

static inline Vf load_uint8(const uint8_t* p) {
#if defined(__AVX512F__)
  return (Vf)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return (Vf)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadu_si64(p)));
#elif defined(LONGLEAF_ARM)
  return (Vf)vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four_bytes(p)))))));
#else
  Vf values;
  for (int i = 0; i < kWidth; ++i) values[i] = static_cast<float>(p[i]);
  return values;
#endif
}

static inline void store_int8(int8_t* p, Vi v) {
#ifdef __AVX512F__
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)v));
#elif defined(LONGLEAF_ARM)
  const int16x4_t halves = vmovn_s32((int32x4_t)v);
  const uint32_t bytes = vget_lane_u32(vreinterpret_u32_s8(vmovn_s16(vcombine_s16(halves, halves))), 0);
  std::memcpy(p, &bytes, 4);
#else
  for (int i = 0; i < kWidth; ++i) p[i] = static_cast<int8_t>(v[i]);
#endif
}

static inline Vf load_bfloat(const uint8_t* p) {
#if defined(__AVX512F__)
  const Vi bits = (Vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))) << 16;
#elif defined(__AVX2__)
  const Vi bits = (Vi)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) << 16;
#elif defined(LONGLEAF_ARM)
  const Vi bits = (Vi)vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16);
#else
  Vi bits;
  for (int i = 0; i < kWidth; ++i) bits[i] = p[2 * i] << 16 | p[2 * i + 1] << 24;
#endif
  Vf values;
  std::memcpy(&values, &bits, sizeof values);
  return values;
}

static inline Vf load_half(const uint8_t* p) {
#if defined(__AVX512F__)
  return (Vf)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return (Vf)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(LONGLEAF_ARM)
  return (Vf)vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
#else
  uint16_t halves[kWidth];
  std::memcpy(halves, p, sizeof halves);
  float values[kWidth];
  for (int i = 0; i < kWidth; ++i) values[i] = half_to_float(halves[i]);
  return load(values);
#endif
}

// a*b + c, rounded once where the instruction set can; the same everywhere within one instruction set.
static inline Vf fma(Vf a, Vf b, Vf c) {
#if defined(__AVX512F__)
  return (Vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(LONGLEAF_ARM)
  return (Vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// `v`, computed here and now: GCC 12 puts sums off until they are used, and keeps all their terms on the stack till
// then; and it would shift a splat before splatting it, in mask registers.
template <typename V>
static inline V settle(V v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(LONGLEAF_X86)
  asm("" : "+x"(v));
#elif defined(LONGLEAF_ARM)
  asm("" : "+w"(v));
#endif
  return v;
}

// sum[i] += x[0..3] · codes[4i..4i+3]: the four int8 at x against every lane. REQUIRES: x within [-127, 127].
static inline Vi dot4(Vi sum, Vi four, Vb codes) {
#if defined(__AVX512VNNI__)
  return (Vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)four);
#elif defined(__AVXVNNI__)
  return (Vi)_mm256_dpbusd_avx_epi32((__m256i)sum, (__m256i)codes, (__m256i)four);
#elif defined(__AVX2__)
  const __m256i signedX = _mm256_sign_epi8((__m256i)four, (__m256i)codes);
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)codes), signedX);
  return settle(sum + (Vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#elif defined(__SSSE3__)
  const __m128i signedX = _mm_sign_epi8((__m128i)four, (__m128i)codes);
  const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8((__m128i)codes), signedX);
  return settle(sum + (Vi)_mm_madd_epi16(pairs, _mm_set1_epi16(1)));
#elif defined(__ARM_FEATURE_DOTPROD)
  return (Vi)vdotq_s32((int32x4_t)sum, (int8x16_t)codes, (int8x16_t)four);
#elif defined(LONGLEAF_ARM)
  const auto x = (int8x16_t)four, y = (int8x16_t)codes;
  const int16x8_t low = vmull_s8(vget_low_s8(x), vget_low_s8(y)), high = vmull_high_s8(x, y);
  return settle(sum + (Vi)vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#else
  int8_t x[4];
  std::memcpy(x, &four, 4);
  for (int i = 0; i < kWidth; ++i)
    for (int k = 0; k < 4; ++k) sum[i] += int32_t{x[k]} * int32_t{codes[4 * i + k]};
  return sum;
#endif
}

// Codes of up to kMostUnsignedBits are multiplied as they are stored, unsigned, wider ones with their offset taken
// away, signed: what the instructions want. Where dot4 is several of them, narrow codes are summed in 16 bits first:
// dot2: pairs[2i] += x[0..1] · codes[4i..4i+1], pairs[2i+1] += x[2..3] · codes[4i+2..4i+3]; dots_in_pairs: how often
// that fits (1: use dot4); add_pairs: sum[i] += pairs[2i] + pairs[2i+1].
typedef int16_t Vs __attribute__((vector_size(LONGLEAF_SIMD_BYTES), may_alias));
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr int kMostUnsignedBits = 8;
constexpr int dots_in_pairs(int) { return 1; }
static inline Vs dot2(Vs pairs, Vi, Vb) { return pairs; }
static inline Vi add_pairs(Vi sum, Vs) { return sum; }
#elif defined(__SSSE3__)
constexpr int kMostUnsignedBits = 6;
constexpr int dots_in_pairs(int bits) { return bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1; }
static_assert(dots_in_pairs(4) * 2 * 15 * 127 <= INT16_MAX && dots_in_pairs(5) * 2 * 31 * 127 <= INT16_MAX &&
              dots_in_pairs(6) * 2 * 63 * 127 <= INT16_MAX);
#ifdef __AVX2__
static inline Vs dot2(Vs pairs, Vi four, Vb codes) {
  return settle(pairs + (Vs)_mm256_maddubs_epi16((__m256i)codes, (__m256i)four));
}
static inline Vi add_pairs(Vi sum, Vs pairs) {
  return sum + (Vi)_mm256_madd_epi16((__m256i)pairs, _mm256_set1_epi16(1));
}
#else
static inline Vs dot2(Vs pairs, Vi four, Vb codes) {
  return settle(pairs + (Vs)_mm_maddubs_epi16((__m128i)codes, (__m128i)four));
}
static inline Vi add_pairs(Vi sum, Vs pairs) { return sum + (Vi)_mm_madd_epi16((__m128i)pairs, _mm_set1_epi16(1)); }
#endif
#else
constexpr int kMostUnsignedBits = 0;
constexpr int dots_in_pairs(int) { return 1; }
static inline Vs dot2(Vs pairs, Vi, Vb) { return pairs; }
static inline Vi add_pairs(Vi sum, Vs) { return sum; }
#endif

// The four bytes at `x` in every lane.
static inline Vi splat4(const void* x) { return Vi{} + static_cast<int32_t>(four_bytes(x)); }

// table[index[i]] for indexes 0..15.
static inline Vb look_up(const int8_t* table, Vb index) {
#if defined(__AVX512BW__)
  const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return (Vb)_mm512_shuffle_epi8(_mm512_broadcast_i32x4(row), (__m512i)index);
#elif defined(__AVX2__)
  const __m128i row = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  return (Vb)_mm256_shuffle_epi8(_mm256_broadcastsi128_si256(row), (__m256i)index);
#elif defined(__SSSE3__)
  return (Vb)_mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)), (__m128i)index);
#elif defined(LONGLEAF_ARM)
  return (Vb)vqtbl1q_s8(vld1q_s8(table), (uint8x16_t)index);
#else
  for (int i = 0; i < LONGLEAF_SIMD_BYTES; ++i) index[i] = table[index[i]];
  return index;
#endif
}

static inline float horizontal_sum(Vf v) {
  float lanes[kWidth];
  std::memcpy(lanes, &v, sizeof v);
  for (int step = kWidth / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lanes[i] += lanes[i + step];
  return lanes[0];
}

static inline int32_t sum_lanes(Vi v) {
#ifdef __AVX512F__
  return _mm512_reduce_add_epi32((__m512i)v);
#else
  int32_t sum = 0;
  for (int i = 0; i < kWidth; ++i) sum += v[i];
  return sum;
#endif
}

static inline float largest_lane(Vf v) {
#ifdef __AVX512F__
  return _mm512_reduce_max_ps((__m512)v);
#else
  float top = v[0];
  for (int i = 1; i < kWidth; ++i) top = v[i] > top ? v[i] : top;
  return top;
#endif
}

// e^x for x <= 0, to 2 ulp; below -87 the result is 0. Range reduction by ln 2 in two parts, then a degree-6
// polynomial on [-ln2/2, ln2/2] (Taylor coefficients; remainder < 1.3e-8 relative there).
static inline Vf exp_nonpositive(Vf x) {
  const Vi underflow = x < -87.0f;
  const Vf clamped = underflow ? splat(-87.0f) : x;
  const Vf shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vf n = fma(clamped, splat(1.44269504f), shifter) - shifter;
  const Vf r = fma(n, splat(2.12194440e-4f), fma(n, splat(-0.693359375f), clamped));
  Vf p = splat(1.3888889e-3f);
  p = fma(p, r, splat(8.3333333e-3f));
  p = fma(p, r, splat(4.1666667e-2f));
  p = fma(p, r, splat(1.6666667e-1f));
  p = fma(p, r, splat(0.5f));
  p = fma(p * r, r, r) + 1.0f;
  const Vi exponent = (__builtin_convertvector(n, Vi) + 127) << 23;
  Vf power;
  std::memcpy(&power, &exponent, sizeof power);
  return underflow ? Vf{} : p * power;
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
