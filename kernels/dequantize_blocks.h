// Block formats of GGUF files to float. Layouts: the GGUF specification and ggml's k-quants (public format facts).
// Static, because it is compiled once per instruction set; see half.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/half.h"
#include "kernels/types.h"

namespace longleaf::kernels {

static inline float read_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return half_to_float(h);
}

// { f16 d; i8 q[32] }: d*q
static inline void dequantize_q8_0(const uint8_t* block, float* out) {
  const float d = read_half(block);
  const auto* q = reinterpret_cast<const int8_t*>(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q[i]);
}

// { f16 d; u8 q[16] }: low nibbles are values 0..15, high nibbles 16..31; d*(q-8)
static inline void dequantize_q4_0(const uint8_t* block, float* out) {
  const float d = read_half(block);
  const uint8_t* q = block + 2;
  for (int i = 0; i < 16; ++i) out[i] = d * static_cast<float>((q[i] & 15) - 8);
  for (int i = 0; i < 16; ++i) out[i + 16] = d * static_cast<float>((q[i] >> 4) - 8);
}

struct ScaleMin {
  int scale;
  int min;
};

// The 6-bit scale and minimum of sub-block j (0..7), packed in 12 bytes.
static inline ScaleMin k_scale(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4)};
}

// { f16 d; f16 dmin; u8 scales[12]; u8 q[128] }: d*scale*q - dmin*min, sub-blocks of 32
static inline void dequantize_q4_k(const uint8_t* block, float* out) {
  const float d = read_half(block), dmin = read_half(block + 2);
  const uint8_t* q = block + 16;
  for (int j = 0; j < 8; j += 2, q += 32) {
    const ScaleMin a = k_scale(block + 4, j), b = k_scale(block + 4, j + 1);
    const float da = d * static_cast<float>(a.scale), ma = dmin * static_cast<float>(a.min);
    const float db = d * static_cast<float>(b.scale), mb = dmin * static_cast<float>(b.min);
    for (int i = 0; i < 32; ++i) *out++ = da * static_cast<float>(q[i] & 15) - ma;
    for (int i = 0; i < 32; ++i) *out++ = db * static_cast<float>(q[i] >> 4) - mb;
  }
}

// { f16 d; f16 dmin; u8 scales[12]; u8 high[32]; u8 q[128] }: as Q4_K with a fifth bit per value
static inline void dequantize_q5_k(const uint8_t* block, float* out) {
  const float d = read_half(block), dmin = read_half(block + 2);
  const uint8_t* high = block + 16;
  const uint8_t* q = block + 48;
  for (int j = 0; j < 8; j += 2, q += 32) {
    const ScaleMin a = k_scale(block + 4, j), b = k_scale(block + 4, j + 1);
    const float da = d * static_cast<float>(a.scale), ma = dmin * static_cast<float>(a.min);
    const float db = d * static_cast<float>(b.scale), mb = dmin * static_cast<float>(b.min);
    for (int i = 0; i < 32; ++i) *out++ = da * static_cast<float>((q[i] & 15) | (((high[i] >> j) & 1) << 4)) - ma;
    for (int i = 0; i < 32; ++i) *out++ = db * static_cast<float>((q[i] >> 4) | (((high[i] >> (j + 1)) & 1) << 4)) - mb;
  }
}

// { u8 low[128]; u8 high[64]; i8 scales[16]; f16 d }: d*scale*(q-32), sub-blocks of 16
static inline void dequantize_q6_k(const uint8_t* block, float* out) {
  const float d = read_half(block + 208);
  const auto* scales = reinterpret_cast<const int8_t*>(block + 192);
  for (int half = 0; half < 2; ++half) {
    const uint8_t* low = block + half * 64;
    const uint8_t* high = block + 128 + half * 32;
    for (int quarter = 0; quarter < 4; ++quarter) {
      for (int i = 0; i < 32; ++i) {
        const int nibble = quarter < 2 ? low[i + 32 * (quarter & 1)] & 15 : low[i + 32 * (quarter & 1)] >> 4;
        const int q = (nibble | (((high[i] >> (2 * quarter)) & 3) << 4)) - 32;
        *out++ = d * static_cast<float>(scales[half * 8 + quarter * 2 + i / 16]) * static_cast<float>(q);
      }
    }
  }
}

// One row of `cols` values. REQUIRES: cols is a multiple of the block's values.
static inline void dequantize_row(DType type, const uint8_t* row, int cols, float* out) {
  const BlockSize size = block_size(type);
  switch (type) {
    case DType::F32:
      std::memcpy(out, row, static_cast<size_t>(cols) * 4);
      return;
    case DType::F16:
      for (int i = 0; i < cols; ++i) out[i] = read_half(row + 2 * i);
      return;
    case DType::BF16:
      for (int i = 0; i < cols; ++i) {
        uint16_t b;
        std::memcpy(&b, row + 2 * i, 2);
        out[i] = bfloat_to_float(b);
      }
      return;
    default:
      break;
  }
  for (int i = 0; i < cols; i += size.values, row += size.bytes) {
    switch (type) {
      case DType::Q8_0:
        dequantize_q8_0(row, out + i);
        break;
      case DType::Q4_0:
        dequantize_q4_0(row, out + i);
        break;
      case DType::Q4_K:
        dequantize_q4_k(row, out + i);
        break;
      case DType::Q5_K:
        dequantize_q5_k(row, out + i);
        break;
      default:
        dequantize_q6_k(row, out + i);
        break;
    }
  }
}

}  // namespace longleaf::kernels
