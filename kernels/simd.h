// One vector type per instruction set, through GCC/Clang vector extensions: no intrinsics, one source for all.
// Compiled once per instruction set (LONGLEAF_ISA), so nothing here or in its users may be an ordinary inline
// function or a std template: the linker would merge the copies and an old processor could meet new instructions.
#pragma once

#include <cstdint>
#include <cstring>

namespace longleaf::kernels::LONGLEAF_ISA {

constexpr int kWidth = LONGLEAF_SIMD_BYTES / 4;
typedef float Vf __attribute__((vector_size(LONGLEAF_SIMD_BYTES), aligned(4), may_alias));
typedef int32_t Vi __attribute__((vector_size(LONGLEAF_SIMD_BYTES), aligned(4), may_alias));

static inline Vf load(const float* p) { return *reinterpret_cast<const Vf*>(p); }
static inline void store(float* p, Vf v) { *reinterpret_cast<Vf*>(p) = v; }
static inline Vf splat(float x) { return Vf{} + x; }

static inline float horizontal_sum(Vf v) {
  float lanes[kWidth];
  std::memcpy(lanes, &v, sizeof v);
  for (int step = kWidth / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lanes[i] += lanes[i + step];
  return lanes[0];
}

static inline float dot(const float* a, const float* b, int n) {
  Vf sum = {};
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) sum += load(a + i) * load(b + i);
  float tail = 0;
  for (; i < n; ++i) tail += a[i] * b[i];
  return horizontal_sum(sum) + tail;
}

// e^x for x <= 0, to 2 ulp; below -87 the result is 0. Range reduction by ln 2 in two parts, then a degree-6
// polynomial on [-ln2/2, ln2/2] (Taylor coefficients; remainder < 1.3e-8 relative there).
static inline Vf exp_nonpositive(Vf x) {
  const Vi underflow = x < -87.0f;
  const Vf clamped = underflow ? splat(-87.0f) : x;
  const Vf shifter = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vf n = (clamped * 1.44269504f + shifter) - shifter;
  const Vf r = (clamped - n * 0.693359375f) + n * 2.12194440e-4f;
  Vf p = splat(1.3888889e-3f);
  p = p * r + 8.3333333e-3f;
  p = p * r + 4.1666667e-2f;
  p = p * r + 1.6666667e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  const Vi exponent = (__builtin_convertvector(n, Vi) + 127) << 23;
  Vf power;
  std::memcpy(&power, &exponent, sizeof power);
  return underflow ? Vf{} : p * power;
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
