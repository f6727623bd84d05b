// Block formats of GGUF files, taken apart. Layouts: the GGUF specification and ggml's quantisations (public format
// facts); MXFP4: Open Compute Project, Microscaling Formats 1.0.
// Static, because it is compiled once per instruction set; see half.h.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/half.h"
#include "kernels/types.h"

namespace longleaf::kernels {

constexpr int kMaxBlock = 256;    // values in the largest block
constexpr int kGroupValues = 16;  // values that surely share a scale

// What a block says: value i is (d * scale[i/16]) * code[i] - dmin * min[i/16].
struct Block {
  float d = 0, dmin = 0;
  int8_t code[kMaxBlock];
  int8_t scale[kMaxBlock / kGroupValues];
  uint8_t min[kMaxBlock / kGroupValues];
};

static inline float read_half(const uint8_t* p) {
  uint16_t h;
  std::memcpy(&h, p, 2);
  return half_to_float(h);
}

static inline void one_scale(Block& out) {
  out.scale[0] = out.scale[1] = 1;
  out.min[0] = out.min[1] = 0;
}

// `offset` is taken from each nibble: the low ones are values 0..15, the high ones 16..31.
static inline void read_nibbles(const uint8_t* q, int offset, int8_t* code) {
  for (int i = 0; i < 16; ++i) code[i] = static_cast<int8_t>((q[i] & 15) - offset);
  for (int i = 0; i < 16; ++i) code[i + 16] = static_cast<int8_t>((q[i] >> 4) - offset);
}

static inline void look_up_nibbles(const uint8_t* q, const int8_t* table, int8_t* code) {
  for (int i = 0; i < 16; ++i) code[i] = table[q[i] & 15];
  for (int i = 0; i < 16; ++i) code[i + 16] = table[q[i] >> 4];
}

// Bit i of the 4 bytes is the fifth bit of value i.
static inline void add_fifth_bits(const uint8_t* high, int8_t* code) {
  for (int i = 0; i < 32; ++i) code[i] = static_cast<int8_t>(code[i] + (((high[i / 8] >> (i % 8)) & 1) << 4));
}

// Q8_0 { f16 d; i8 q[32] }
static inline void unpack_q8_0(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  std::memcpy(out.code, b + 2, 32);
  one_scale(out);
}

// Q4_0 { f16 d; u8 q[16] }
static inline void unpack_q4_0(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  read_nibbles(b + 2, 8, out.code);
  one_scale(out);
}

// Formats with a minimum add it: { f16 d; f16 m; … }, value d*q + m.
static inline void unpack_minimum(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  out.dmin = -read_half(b + 2);
  one_scale(out);
  out.min[0] = out.min[1] = 1;
}

// Q4_1 { f16 d; f16 m; u8 q[16] }
static inline void unpack_q4_1(const uint8_t* b, Block& out) {
  unpack_minimum(b, out);
  read_nibbles(b + 4, 0, out.code);
}

// Q5_0 { f16 d; u8 high[4]; u8 q[16] }
static inline void unpack_q5_0(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  read_nibbles(b + 6, 16, out.code);
  add_fifth_bits(b + 2, out.code);
  one_scale(out);
}

// Q5_1 { f16 d; f16 m; u8 high[4]; u8 q[16] }
static inline void unpack_q5_1(const uint8_t* b, Block& out) {
  unpack_minimum(b, out);
  read_nibbles(b + 8, 0, out.code);
  add_fifth_bits(b + 4, out.code);
}

// Q2_K { u8 scales[16] (scale, minimum); u8 q[64]; f16 d; f16 dmin }
static inline void unpack_q2_k(const uint8_t* b, Block& out) {
  out.d = read_half(b + 80);
  out.dmin = read_half(b + 82);
  for (int g = 0; g < 16; ++g) {
    out.scale[g] = static_cast<int8_t>(b[g] & 15);
    out.min[g] = static_cast<uint8_t>(b[g] >> 4);
  }
  for (int i = 0; i < 256; ++i)
    out.code[i] = static_cast<int8_t>((b[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2)) & 3);
}

// Q3_K { u8 high[32]; u8 q[64]; u8 scales[12]; f16 d }: 6-bit scales from -32; a high bit that is not set takes 4 away
static inline void unpack_q3_k(const uint8_t* b, Block& out) {
  out.d = read_half(b + 108);
  const uint8_t* s = b + 96;
  for (int g = 0; g < 16; ++g) {
    const int low = (s[g % 8] >> (g / 8 * 4)) & 15, high = (s[8 + g % 4] >> (g / 4 * 2)) & 3;
    out.scale[g] = static_cast<int8_t>((low | high << 4) - 32);
    out.min[g] = 0;
  }
  for (int i = 0; i < 256; ++i) {
    const int low = (b[32 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2)) & 3, high = (b[i % 32] >> (i / 32)) & 1;
    out.code[i] = static_cast<int8_t>(low - 4 * (1 - high));
  }
}

// The 6-bit scales and minima of Q4_K and Q5_K, packed in 12 bytes; { f16 d; f16 dmin; u8 scales[12]; … }
static inline void unpack_k_scales(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  out.dmin = read_half(b + 2);
  const uint8_t* s = b + 4;
  for (int g = 0; g < 16; ++g) {
    const int j = g / 2;
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
    const int min = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
    out.scale[g] = static_cast<int8_t>(scale);
    out.min[g] = static_cast<uint8_t>(min);
  }
}

// 32 bytes hold two groups of 32: the low nibbles, then the high ones.
static inline void read_wide_nibbles(const uint8_t* q, int8_t* code) {
  for (int i = 0; i < 256; ++i) code[i] = static_cast<int8_t>((q[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4)) & 15);
}

// Q4_K { …; u8 q[128] }
static inline void unpack_q4_k(const uint8_t* b, Block& out) {
  unpack_k_scales(b, out);
  read_wide_nibbles(b + 16, out.code);
}

// Q5_K { …; u8 high[32]; u8 q[128] }
static inline void unpack_q5_k(const uint8_t* b, Block& out) {
  unpack_k_scales(b, out);
  read_wide_nibbles(b + 48, out.code);
  for (int i = 0; i < 256; ++i)
    out.code[i] = static_cast<int8_t>(out.code[i] + (((b[16 + i % 32] >> (i / 32)) & 1) << 4));
}

// Q6_K { u8 low[128]; u8 high[64]; i8 scales[16]; f16 d }
static inline void unpack_q6_k(const uint8_t* b, Block& out) {
  out.d = read_half(b + 208);
  std::memcpy(out.scale, b + 192, 16);
  std::memset(out.min, 0, 16);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i / 32 % 4;
    const int low = (b[half * 64 + quarter % 2 * 32 + i % 32] >> (quarter / 2 * 4)) & 15;
    const int high = (b[128 + half * 32 + i % 32] >> (quarter * 2)) & 3;
    out.code[i] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // doubled

// IQ4_NL { f16 d; u8 q[16] }
static inline void unpack_iq4_nl(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  look_up_nibbles(b + 2, kIq4Values, out.code);
  one_scale(out);
}

// IQ4_XS { f16 d; u16 high scales; u8 low scales[4]; u8 q[128] }: 6-bit scales from -32, groups of 32
static inline void unpack_iq4_xs(const uint8_t* b, Block& out) {
  out.d = read_half(b);
  for (int g = 0; g < 16; ++g) {
    const int j = g / 2;
    const int low = (b[4 + j / 2] >> (j % 2 * 4)) & 15, high = (b[2 + j / 4] >> (j % 4 * 2)) & 3;
    out.scale[g] = static_cast<int8_t>((low | high << 4) - 32);
    out.min[g] = 0;
  }
  for (int j = 0; j < 8; ++j) look_up_nibbles(b + 8 + 16 * j, kIq4Values, out.code + 32 * j);
}

// MXFP4 { u8 e; u8 q[16] }: 2^(e-127) times a 4-bit float; the table holds doubles, so 2^(e-128), subnormal below 2
static inline void unpack_mxfp4(const uint8_t* b, Block& out) {
  out.d = bits_to_float(b[0] < 2 ? 0x00200000u << b[0] : static_cast<uint32_t>(b[0] - 1) << 23);
  look_up_nibbles(b + 1, kFp4Values, out.code);
  one_scale(out);
}

// REQUIRES: a format of blocks, not F32, F16 or BF16.
static inline void unpack_block(DType type, const uint8_t* block, Block& out) {
  out.dmin = 0;
  switch (type) {
    case DType::Q8_0:
      return unpack_q8_0(block, out);
    case DType::Q4_0:
      return unpack_q4_0(block, out);
    case DType::Q4_1:
      return unpack_q4_1(block, out);
    case DType::Q5_0:
      return unpack_q5_0(block, out);
    case DType::Q5_1:
      return unpack_q5_1(block, out);
    case DType::Q2_K:
      return unpack_q2_k(block, out);
    case DType::Q3_K:
      return unpack_q3_k(block, out);
    case DType::Q4_K:
      return unpack_q4_k(block, out);
    case DType::Q5_K:
      return unpack_q5_k(block, out);
    case DType::Q6_K:
      return unpack_q6_k(block, out);
    case DType::IQ4_NL:
      return unpack_iq4_nl(block, out);
    case DType::IQ4_XS:
      return unpack_iq4_xs(block, out);
    default:
      return unpack_mxfp4(block, out);
  }
}

// One row of `cols` values. REQUIRES: cols is a multiple of the block's values.
static inline void dequantize_row(DType type, const uint8_t* row, int cols, float* out) {
  if (type == DType::F32) {
    std::memcpy(out, row, static_cast<size_t>(cols) * 4);
  } else if (type == DType::F16) {
    for (int i = 0; i < cols; ++i) out[i] = read_half(row + 2 * i);
  } else if (type == DType::BF16) {
    for (int i = 0; i < cols; ++i) {
      uint16_t b;
      std::memcpy(&b, row + 2 * i, 2);
      out[i] = bfloat_to_float(b);
    }
  } else {
    const Format& format = format_of(type);
    Block block;
    for (int i = 0; i < cols; i += format.values, row += format.bytes, out += format.values) {
      unpack_block(type, row, block);
      for (int j = 0; j < format.values; ++j) {
        const int g = j / kGroupValues;
        out[j] = block.d * static_cast<float>(block.scale[g]) * static_cast<float>(block.code[j]) -
                 block.dmin * static_cast<float>(block.min[g]);
      }
    }
  }
}

}  // namespace longleaf::kernels
