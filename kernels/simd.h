// One vector type per instruction set, through GCC/Clang vector extensions; intrinsics only for what they cannot say.
// Compiled once per instruction set (LONGLEAF_ISA), so nothing here or in its users may be an ordinary inline
// function or a std template: the linker would merge the copies and an old processor could meet new instructions.
#pragma once

#ifdef LONGLEAF_X86
#include <immintrin.h>
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
static inline Vf splat(float x) { return Vf{} + x; }

static inline Vb load_bytes(const uint8_t* p) {
  Vb v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
// Widening and narrowing by intrinsics: GCC 12 does it through scalars.
static inline Vf load_int8(const uint8_t* p) {
#if defined(__AVX512F__)
  return (Vf)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return (Vf)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(p)));
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
#else
  Vf values;
  for (int i = 0; i < kWidth; ++i) values[i] = static_cast<float>(p[i]);
  return values;
#endif
}

static inline void store_int8(int8_t* p, Vi v) {
#ifdef __AVX512F__
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)v));
#else
  for (int i = 0; i < kWidth; ++i) p[i] = static_cast<int8_t>(v[i]);
#endif
}

static inline Vf load_bfloat(const uint8_t* p) {
#if defined(__AVX512F__)
  const Vi bits = (Vi)_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))) << 16;
#elif defined(__AVX2__)
  const Vi bits = (Vi)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) << 16;
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
#else
  return a * b + c;
#endif
}

// Whether dot4 takes codes as stored, unsigned, or with their offset taken away, signed: what the instruction wants.
#ifdef __AVX512VNNI__
constexpr bool kUnsignedCodes = true;
#else
constexpr bool kUnsignedCodes = false;
#endif

// sum[i] += x[0..3] · codes[4i..4i+3]: the four int8 at x against every lane. REQUIRES: x within [-127, 127].
static inline Vi dot4(Vi sum, Vi four, Vb codes) {
#if defined(__AVX512VNNI__)
  return (Vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)codes, (__m512i)four);
#elif defined(__AVX2__)
  const __m256i signedX = _mm256_sign_epi8((__m256i)four, (__m256i)codes);
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)codes), signedX);
  return sum + (Vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif defined(__SSSE3__)
  const __m128i signedX = _mm_sign_epi8((__m128i)four, (__m128i)codes);
  const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8((__m128i)codes), signedX);
  return sum + (Vi)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
#else
  int8_t x[4];
  std::memcpy(x, &four, 4);
  for (int i = 0; i < kWidth; ++i)
    for (int k = 0; k < 4; ++k) sum[i] += int32_t{x[k]} * int32_t{codes[4 * i + k]};
  return sum;
#endif
}

// The four bytes at `x` in every lane.
static inline Vi splat4(const void* x) {
  int32_t four;
  std::memcpy(&four, x, 4);
  return Vi{} + four;
}

// Keeps what is computed from `v` in vector registers: GCC 12 would shift a splat before splatting it, in mask
// registers.
static inline Vi settle(Vi v) {
#ifdef __AVX512F__
  asm("" : "+v"(v));
#endif
  return v;
}

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
