// Packed weights back to floats, for training: see kernels/training.h and planes.h.
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/planes.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

// Four columns of one group, with the bits that the processor gets from the file.
template <DType T>
__device__ inline float4 numbers_of(uint32_t word, float factor, float minimum) {
  float out[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int code = static_cast<int8_t>(word >> (8 * i)) - code_offset<T>();
    out[i] = rounded_product(factor, static_cast<float>(code)) - minimum;
  }
  return {out[0], out[1], out[2], out[3]};
}

// One thread takes the words w and w + 4 of a block.
template <DType T>
__device__ inline void unpack_blocks(const UnpackArgs& a) {
  constexpr PanelFormat f = panel_format(T);
  constexpr int kGroups = kBlockCols / f.group;
  const Planes p = planes_of(T, a.rows, a.cols);
  const int blocks = a.cols / kBlockCols;
  for (int64_t i = first_element(); i < int64_t{a.rows} * blocks * 4; i += next_element()) {
    const int w = static_cast<int>(i % 4);
    const int64_t index = i / 4;
    const int row = static_cast<int>(index / blocks), block = static_cast<int>(index % blocks);
    const BlockAt at{reinterpret_cast<const uint32_t*>(a.weight + p.nibbles) + 4 * index,
                     reinterpret_cast<const uint32_t*>(a.weight + p.pairs) + 2 * index,
                     reinterpret_cast<const uint32_t*>(a.weight + p.singles) + index,
                     reinterpret_cast<const uint32_t*>(a.weight + p.bytes) + 8 * index};
    const Words words = code_words<T>(at, w);
    const int64_t scale = int64_t{block * kBlockCols / f.scale_cols} * p.rows_padded + row;
    const float d = scale_value<T>(reinterpret_cast<const uint16_t*>(a.weight + p.scales)[scale]);
    float factors[2] = {d, d}, minima[2] = {0, 0};
    if constexpr (f.has_min)
      minima[0] = minima[1] = scale_value<T>(reinterpret_cast<const uint16_t*>(a.weight + p.minima)[scale]);
    if constexpr (f.scale_cols > kBlockCols) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int64_t group = int64_t{block * kGroups + half % kGroups} * p.rows_padded + row;
        factors[half] = rounded_product(d, static_cast<int8_t>(a.weight[p.factors + group]));
        if constexpr (f.has_min) minima[half] = rounded_product(minima[half], a.weight[p.min_factors + group]);
      }
    }
    auto* out = reinterpret_cast<float4*>(a.out + int64_t{row} * a.cols + block * kBlockCols);
    out[w] = numbers_of<T>(words.low, factors[0], minima[0]);
    out[w + 4] = numbers_of<T>(words.high, factors[1], minima[1]);
  }
}

template <DType T>
__device__ inline float number_at(const uint8_t* weight, int64_t i) {
  if constexpr (T == DType::F32) return reinterpret_cast<const float*>(weight)[i];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(weight)[i];
  return T == DType::F16 ? from_half(bits) : from_bfloat(bits);
}

template <DType T>
__device__ inline void unpack_numbers(const UnpackArgs& a) {
  const int64_t stride = padded_cols(a.cols);
  for (int64_t i = first_element(); i < int64_t{a.rows} * a.cols; i += next_element())
    a.out[i] = number_at<T>(a.weight, i / a.cols * stride + i % a.cols);
}

}  // namespace

// Grid and block: any.
extern "C" __global__ void unpack_F32(const UnpackArgs a) { unpack_numbers<DType::F32>(a); }
extern "C" __global__ void unpack_F16(const UnpackArgs a) { unpack_numbers<DType::F16>(a); }
extern "C" __global__ void unpack_BF16(const UnpackArgs a) { unpack_numbers<DType::BF16>(a); }
#define UNPACK(type) \
  extern "C" __global__ void unpack_##type(const UnpackArgs a) { unpack_blocks<DType::type>(a); }
BLOCK_FORMATS(UNPACK)
