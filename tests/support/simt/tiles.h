// What kernels/cuda/tiles.cuh writes in PTX, for the emulator. Contracts and fragments: there.
// Copies arrive at once or as late as they may, by chance: a kernel that does not wait for them reads NaN.
#pragma once

#include "kernels/half.h"
#include "tests/support/simt/cuda.h"

namespace longleaf::kernels::cuda {

inline unsigned char* shared_bytes() { return static_cast<unsigned char*>(simt::dynamic_shared()); }

template <int kBytes>
void copy_ahead(void* to, const void* from) {
  simt::copy_later(to, from, kBytes);
}
inline void end_of_group() { simt::end_copy_group(); }
template <int kOpen>
void wait_for_copies() {
  simt::wait_for_copies(kOpen);
}

// What one lane brings to a product of matrices.
template <typename C, int kWordsOfA, int kWordsOfB>
struct Fragments {
  C c[4];
  uint32_t a[kWordsOfA], b[kWordsOfB];
};

// One lane's four numbers of C + A·B. take(word, i): number i of a word; kPerWord numbers per word.
template <typename F, int kPerWord, int kWordsOfB, typename Take>
void multiply_lane(const void* const* in, int lane, void* out, const Take& take) {
  const int g = lane / 4, t = lane % 4;
  F own = *static_cast<const F*>(in[lane]);
  for (int i = 0; i < 4; ++i) {
    const int row = i / 2, column = 2 * t + i % 2;
    for (int word = 0; word < 4 * kWordsOfB; ++word) {
      const auto* a = static_cast<const F*>(in[4 * g + word % 4]);
      const auto* b = static_cast<const F*>(in[4 * column + word % 4]);
      for (int n = 0; n < kPerWord; ++n) own.c[i] += take(a->a[2 * (word / 4) + row], n) * take(b->b[word / 4], n);
    }
  }
  std::memcpy(out, own.c, sizeof own.c);
}

inline int byte_of(uint32_t word, int i) { return static_cast<int8_t>(word >> (8 * i)); }
inline float half_of(uint32_t word, int i) { return half_to_float(static_cast<uint16_t>(word >> (16 * i))); }
inline float bfloat_of(uint32_t word, int i) { return bfloat_to_float(static_cast<uint16_t>(word >> (16 * i))); }

template <typename F>
void meet_and_multiply(F& fragments, int line, simt::Compute compute) {
  simt::meet(0xffffffffu, line, &fragments, fragments.c, sizeof fragments.c, compute);
}

inline void multiply_bytes_16(int (&c)[4], uint32_t a0, uint32_t a1, uint32_t b, int line = __builtin_LINE()) {
  using F = Fragments<int, 2, 1>;
  F f{{c[0], c[1], c[2], c[3]}, {a0, a1}, {b}};
  meet_and_multiply(f, line,
                    [](const void* const* in, int lane, void* out) { multiply_lane<F, 4, 1>(in, lane, out, byte_of); });
  std::memcpy(c, f.c, sizeof c);
}

inline void multiply_bytes_32(int (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              int line = __builtin_LINE()) {
  using F = Fragments<int, 4, 2>;
  F f{{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  meet_and_multiply(f, line,
                    [](const void* const* in, int lane, void* out) { multiply_lane<F, 4, 2>(in, lane, out, byte_of); });
  std::memcpy(c, f.c, sizeof c);
}

inline void multiply_halves(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                            int line = __builtin_LINE()) {
  using F = Fragments<float, 4, 2>;
  F f{{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  meet_and_multiply(f, line,
                    [](const void* const* in, int lane, void* out) { multiply_lane<F, 2, 2>(in, lane, out, half_of); });
  std::memcpy(c, f.c, sizeof c);
}

inline void multiply_bfloats(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             int line = __builtin_LINE()) {
  using F = Fragments<float, 4, 2>;
  F f{{c[0], c[1], c[2], c[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  meet_and_multiply(
      f, line, [](const void* const* in, int lane, void* out) { multiply_lane<F, 2, 2>(in, lane, out, bfloat_of); });
  std::memcpy(c, f.c, sizeof c);
}

struct MatrixRow {
  const unsigned char* row;
};

inline void load_matrices(uint32_t (&out)[4], const void* row, int line = __builtin_LINE()) {
  simt::check_aligned(row, 16);
  const MatrixRow own{static_cast<const unsigned char*>(row)};
  simt::meet(0xffffffffu, line, &own, out, sizeof out, [](const void* const* in, int lane, void* to) {
    for (int i = 0; i < 4; ++i)
      std::memcpy(static_cast<uint32_t*>(to) + i,
                  static_cast<const MatrixRow*>(in[8 * i + lane / 4])->row + lane % 4 * 4, 4);
  });
}

inline void load_transposed(uint32_t (&out)[4], const void* row, int line = __builtin_LINE()) {
  simt::check_aligned(row, 16);
  const MatrixRow own{static_cast<const unsigned char*>(row)};
  simt::meet(0xffffffffu, line, &own, out, sizeof out, [](const void* const* in, int lane, void* to) {
    for (int i = 0; i < 4; ++i)
      for (int n = 0; n < 2; ++n)
        std::memcpy(static_cast<unsigned char*>(to) + 4 * i + 2 * n,
                    static_cast<const MatrixRow*>(in[8 * i + 2 * (lane % 4) + n])->row + lane / 4 * 2, 2);
  });
}

}  // namespace longleaf::kernels::cuda
