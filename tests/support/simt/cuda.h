// What CUDA's compiler knows by itself, for the emulator: a .cu file compiled as C++ sees this first.
// Names and meanings are those of NVIDIA's CUDA C++ Programming Guide; what else kernels need of a GPU (tensor cores,
// copies that run ahead) they reach through kernels/cuda/*.cuh, which ask for it here.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/support/simt/grid.h"

inline void sincospif(float x, float* sine, float* cosine) {
  constexpr double kPi = 3.14159265358979323846;
  *sine = static_cast<float>(std::sin(kPi * double{x}));
  *cosine = static_cast<float>(std::cos(kPi * double{x}));
}

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static __attribute__((section("simt_shared")))
#define __align__(n) alignas(n)

extern simt::Dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

inline void __syncthreads(int line = __builtin_LINE()) { simt::barrier(line); }

namespace simt {

template <typename In, typename Out>
Out meet(uint32_t mask, int line, const In& in, Compute compute) {
  static_assert(sizeof(Out) <= kLaneBytes);
  Out out;
  meet(mask, line, &in, &out, sizeof out, compute);
  return out;
}

template <typename T>
struct Shuffle {
  T value;
  int from;  // lane; the own one where that lane is not in the mask
};

template <typename T>
T shuffle(uint32_t mask, T value, int from, int line) {
  return meet<Shuffle<T>, T>(mask, line, {value, from}, [](const void* const* in, int lane, void* out) {
    const auto* own = static_cast<const Shuffle<T>*>(in[lane]);
    const void* source = in[own->from & (kWarp - 1)];
    const T result = source != nullptr ? static_cast<const Shuffle<T>*>(source)->value : own->value;
    std::memcpy(out, &result, sizeof result);
  });
}

inline int lane() {
  return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kWarp);
}

}  // namespace simt

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int = 32, int line = __builtin_LINE()) {
  return simt::shuffle(mask, value, simt::lane() ^ bits, line);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int from, int = 32, int line = __builtin_LINE()) {
  return simt::shuffle(mask, value, from, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, int by, int = 32, int line = __builtin_LINE()) {
  const int from = simt::lane() + by;
  return simt::shuffle(mask, value, from < simt::kWarp ? from : simt::lane(), line);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE()) {
  simt::meet<char, char>(mask, line, 0, [](const void* const*, int, void* out) { *static_cast<char*>(out) = 0; });
}
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return simt::meet<int, unsigned>(mask, line, predicate, [](const void* const* in, int, void* out) {
    unsigned bits = 0;
    for (int i = 0; i < simt::kWarp; ++i)
      if (in[i] != nullptr && *static_cast<const int*>(in[i]) != 0) bits |= 1u << i;
    std::memcpy(out, &bits, sizeof bits);
  });
}
inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE()) {
  return __ballot_sync(mask, predicate, line) == mask;
}

// Threads take turns, so an atomic operation is the plain one.
template <typename T>
T atomicAdd(T* where, T value) {
  const T before = *where;
  *where = before + value;
  return before;
}
template <typename T>
T atomicMax(T* where, T value) {
  const T before = *where;
  if (value > before) *where = value;
  return before;
}
