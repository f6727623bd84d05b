// Number formats and integer tricks in kernels: PTX on a GPU, the same numbers in C++ elsewhere.
#pragma once

#include <cstdint>

#ifndef __CUDACC__
#include "kernels/half.h"
#endif

namespace longleaf::kernels::cuda {

__device__ inline float from_half(uint16_t bits) {
#ifdef __CUDACC__
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
#else
  return half_to_float(bits);
#endif
}

// To nearest even; what a half cannot hold becomes infinite.
__device__ inline uint16_t to_half(float value) {
#ifdef __CUDACC__
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
#else
  return float_to_half(value);
#endif
}

// To the nearest number a half can hold; NaN stays NaN.
__device__ inline uint16_t to_finite_half(float value) {
  constexpr float kMost = 65504;
  return to_half(value > kMost ? kMost : value < -kMost ? -kMost : value);
}

__device__ inline uint32_t bits_of(float value) {
#ifdef __CUDACC__
  return __float_as_uint(value);
#else
  return float_to_bits(value);
#endif
}

__device__ inline float from_bits(uint32_t bits) {
#ifdef __CUDACC__
  return __uint_as_float(bits);
#else
  return bits_to_float(bits);
#endif
}

__device__ inline float from_bfloat(uint16_t bits) { return from_bits(static_cast<uint32_t>(bits) << 16); }

// To nearest even; NaN stays NaN.
__device__ inline uint16_t to_bfloat(float value) {
  const uint32_t bits = bits_of(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

__device__ inline uint32_t pair(uint16_t low, uint16_t high) { return low | static_cast<uint32_t>(high) << 16; }

// A product that the compiler joins with no sum: where it does is its own choice, and may differ between two places.
__device__ inline float rounded_product(float a, float b) {
#ifdef __CUDACC__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

// sum + the products of four signed bytes each.
__device__ inline int dot4(uint32_t a, uint32_t b, int sum) {
#ifdef __CUDACC__
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
#else
  for (int i = 0; i < 4; ++i) sum += static_cast<int8_t>(a >> (8 * i)) * static_cast<int8_t>(b >> (8 * i));
  return sum;
#endif
}

// Byte i of the result is the byte of `low`, `high` (eight bytes) that the 3-bit number in nibble i of `selector`
// names.
__device__ inline uint32_t pick_bytes(uint32_t low, uint32_t high, uint32_t selector) {
#ifdef __CUDACC__
  return __byte_perm(low, high, selector);
#else
  const uint64_t both = low | static_cast<uint64_t>(high) << 32;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i)
    result |= static_cast<uint32_t>(both >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return result;
#endif
}

}  // namespace longleaf::kernels::cuda
