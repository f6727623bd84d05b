// Codes and scales of a packed weight (planes.h), taken out of its planes.
// Words of four columns are numbered 0 to 7 within a block of 32; a "low" word w < 4 holds columns of the first half,
// its "high" partner w + 4 those of the second.
#pragma once

#include "kernels/cuda/args.h"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/planes.h"

namespace longleaf::kernels::cuda {

struct Words {
  uint32_t low, high;
};

// What stored codes of IQ4 and MXFP4 stand for: 16 signed bytes.
template <DType T>
__device__ inline uint32_t table_word(int i) {
  if (T == DType::MXFP4) return i == 0 ? 0x03020100u : i == 1 ? 0x0c080604u : i == 2 ? 0xfdfeff00u : 0xf4f8fafcu;
  return i == 0 ? 0xbfad9881u : i == 1 ? 0xf6eaddcfu : i == 2 ? 0x26190d01u : 0x71594535u;
}

// Eight nibbles to what they stand for.
template <DType T>
__device__ inline Words look_up(uint32_t nibbles) {
  uint32_t mixed[2];  // low, high, low, high of two bytes each
  for (int i = 0; i < 2; ++i) {
    const uint32_t selector = nibbles >> (16 * i) & 0xffff;
    const uint32_t first = pick_bytes(table_word<T>(0), table_word<T>(1), selector & 0x7777);
    const uint32_t second = pick_bytes(table_word<T>(2), table_word<T>(3), selector & 0x7777);
    mixed[i] = pick_bytes(first, second, 0x3210 | (selector & 0x8888) >> 1);
  }
  return {pick_bytes(mixed[0], mixed[1], 0x6420), pick_bytes(mixed[0], mixed[1], 0x7531)};
}

// Where the codes of one block of one row begin, in whatever memory.
struct BlockAt {
  const uint32_t *nibbles, *pairs, *singles, *bytes;
};

// The words w and w + 4 of a block, w < 4, as stored: the format's offset is not yet taken away.
template <DType T>
__device__ inline Words code_words(const BlockAt& at, int w) {
  constexpr PanelFormat f = panel_format(T);
  if (f.bits == 8) return {at.bytes[2 * w], at.bytes[2 * w + 1]};
  if (f.has_table) return look_up<T>(at.nibbles[w]);
  Words words{0, 0};
  int shift = 0;
  if (f.bits >= 4) {
    const uint32_t nibbles = at.nibbles[w];
    words = {nibbles & 0x0f0f0f0fu, nibbles >> 4 & 0x0f0f0f0fu};
    shift = 4;
  }
  if ((f.bits & 2) != 0) {
    const uint32_t pairs = at.pairs[w % 2] >> (w / 2 * 2);
    words.low |= (pairs & 0x03030303u) << shift;
    words.high |= (pairs >> 4 & 0x03030303u) << shift;
    shift += 2;
  }
  if (f.bits % 2 == 1) {
    const uint32_t singles = at.singles[0] >> w;
    words.low |= (singles & 0x01010101u) << shift;
    words.high |= (singles >> 4 & 0x01010101u) << shift;
  }
  return words;
}

// What to take away from every stored code.
template <DType T>
__device__ constexpr int code_offset() {
  constexpr PanelFormat f = panel_format(T);
  return f.bits == 8 || f.has_table ? 0 : f.offset;
}

template <DType T>
__device__ inline float scale_value(uint16_t bits) {
  constexpr PanelFormat f = panel_format(T);
  return f.bfloat_scales ? from_bfloat(bits) : from_half(bits);
}

}  // namespace longleaf::kernels::cuda

// Every format of blocks, for kernels that are compiled once for each.
#define BLOCK_FORMATS(kernel)                                                                                          \
  kernel(Q8_0) kernel(Q4_0) kernel(Q4_1) kernel(Q5_0) kernel(Q5_1) kernel(Q2_K) kernel(Q3_K) kernel(Q4_K) kernel(Q5_K) \
      kernel(Q6_K) kernel(IQ4_NL) kernel(IQ4_XS) kernel(MXFP4)
