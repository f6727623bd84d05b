// Rotary positions, and the rows of the KV store: see backend.h and span_attention.h.
#include "kernels/cuda/args.h"
#include "kernels/cuda/kv.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/rotary.cuh"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

// Grid: tokens. Block: any.
extern "C" __global__ void rope(const RotateArgs a) {
  float* x = a.x + int64_t{blockIdx.x} * a.n_heads * a.head_dim;
  const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
  const int heads = threads > a.pairs ? threads / a.pairs : 1;  // that are turned at once
  if (thread >= heads * a.pairs) return;
  for (int i = thread % a.pairs; i < a.pairs; i += threads) {
    Turn turn = turn_of(a.positions[blockIdx.x], a.inv_freq[i]);
    turn.cosine *= a.magnitude;
    turn.sine *= a.magnitude;
    const Pair p = pair_of(i, a.pairs, a.style);
    for (int h = thread / a.pairs; h < a.n_heads; h += heads) {
      float* head = x + h * a.head_dim;
      const float first = head[p.first], second = head[p.second];
      head[p.first] = first_of(first, second, turn);
      head[p.second] = second_of(first, second, turn);
    }
  }
}

namespace {

// A number among those of its block, which the lanes of this warp have: see span_attention.h.
__device__ inline void write_code(uint8_t* block, int lane, float value) {
  const float top = warp_max(fabsf(value));
  const bool is_number = __all_sync(kAllLanes, value == value) != 0;
  uint16_t scale = is_number ? to_finite_half(top / 127.0f) : uint16_t{0x7e00};
  if (rounded_product(127.0f, from_half(scale)) < top && scale < 0x7bff) ++scale;  // as ops_cpu.cpp has it
  const float unit = from_half(scale), inverse = unit > 0 ? 1.0f / unit : 0.0f;
  const float code = rintf(rounded_product(value, inverse));
  block[2 + lane] = static_cast<uint8_t>(static_cast<int8_t>(code >= 127 ? 127.0f : code > -127 ? code : -127.0f));
  if (lane == 0) *reinterpret_cast<uint16_t*>(block) = scale;
}

// Number i of one row to number j of another; both are the same place of a warp's block. Bits of what is only moved
// stay as they are, also those of an infinity or a NaN.
__device__ inline void move(const uint8_t* from, DType from_type, int64_t i, uint8_t* to, DType to_type, int64_t j) {
  if (to_type == DType::F32) {
    reinterpret_cast<float*>(to)[j] = kv_number(from, from_type, i);
  } else if (to_type == DType::F16) {
    reinterpret_cast<uint16_t*>(to)[j] = from_type == DType::F16 ? reinterpret_cast<const uint16_t*>(from)[i]
                                                                 : to_finite_half(kv_number(from, from_type, i));
  } else {
    const auto lane = static_cast<int>(j % kKvBlock);
    uint8_t* block = to + j / kKvBlock * kKvBlockBytes;
    if (from_type != DType::Q8_0) return write_code(block, lane, kv_number(from, from_type, i));
    const uint8_t* source = from + i / kKvBlock * kKvBlockBytes;
    block[2 + lane] = source[2 + lane];
    if (lane < 2) block[lane] = source[lane];
  }
}

}  // namespace

namespace {

// Calls use(row of the store, all rows of its kind, index of the row's first number) for the keys and for the values of
// this block's token, head and layer.
template <typename F>
__device__ inline void each_row(const KvArgs& a, F use) {
  const int key = a.first_key + blockIdx.x, head = blockIdx.y, layer = blockIdx.z;
  const KvView view = layer_of(a.kv, layer);
  const int64_t row = (int64_t{blockIdx.x} * a.kv.n_kv_heads + head) * a.kv.head_dim;
  const size_t rows = layer * a.rows_stride;
  use(kv_row(view, key, head, false), static_cast<uint8_t*>(a.k) + rows, row);
  use(kv_row(view, key, head, true), static_cast<uint8_t*>(a.v) + rows, row);
}

}  // namespace

// Grid: (tokens, heads, layers). Block: whole warps.
extern "C" __global__ void kv_write(const KvArgs asked) {
  const KvArgs a = placed(asked);
  each_row(a, [&](uint8_t* stored, uint8_t* rows, int64_t row) {
    for (int i = threadIdx.x; i < a.kv.head_dim; i += blockDim.x) move(rows, a.type, row + i, stored, a.kv.type, i);
  });
}

// Grid: (tokens, heads, layers). Block: whole warps.
extern "C" __global__ void kv_read(const KvArgs asked) {
  const KvArgs a = placed(asked);
  each_row(a, [&](uint8_t* stored, uint8_t* rows, int64_t row) {
    for (int i = threadIdx.x; i < a.kv.head_dim; i += blockDim.x) move(stored, a.kv.type, i, rows, a.type, row + i);
  });
}
