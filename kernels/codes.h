// Codes of a block format as they are packed for the processors that multiply with them: in planes of 4, 2 and 1 bits,
// four neighbouring columns per 32-bit word, so that one shift and one mask take four codes out.
// Static, because it is compiled once per instruction set; see half.h.
#pragma once

#include "kernels/blocks.h"
#include "kernels/panels.h"

namespace longleaf::kernels {

// A stored code, which `bits` bits can hold.
static inline uint8_t stored_code(DType type, const PanelFormat& format, int8_t code) {
  if (!format.has_table) return static_cast<uint8_t>(code + format.offset);
  const int8_t* table = type == DType::MXFP4 ? kFp4Values : kIq4Values;
  uint8_t index = 0;
  while (table[index] != code) ++index;
  return index;
}

// The planes of 32 stored codes, one behind the other: `bits` words. Word i of a plane of n words holds the columns
// 4*(i + j*n) … + 3, its bits j*b … of every byte.
static inline void plane_words(const PanelFormat& format, const uint8_t* stored, uint32_t* out) {
  uint32_t words[8];
  std::memcpy(words, stored, sizeof words);
  const auto put = [&](int n, int bits, int shift) {
    const uint32_t mask = 0x01010101u * ((1u << bits) - 1);
    for (int i = 0; i < n; ++i) {
      uint32_t word = 0;
      for (int j = i; j < 8; j += n) word |= ((words[j] >> shift) & mask) << (j / n * bits);
      *out++ = word;
    }
  };
  if (format.bits == 8) return put(8, 8, 0);
  const int nibble = format.bits >= 4 ? 4 : 0;
  if (nibble > 0) put(4, 4, 0);
  if (format.bits - nibble >= 2) put(2, 2, nibble);
  if (format.bits % 2 == 1) put(1, 1, format.bits - 1);
}

static inline uint16_t scale_bits(const PanelFormat& format, float scale) {
  return format.bfloat_scales ? static_cast<uint16_t>(float_to_bits(scale) >> 16) : float_to_half(scale);
}

}  // namespace longleaf::kernels
