// Rotary positions, and the rows of the KV store: see backend.h and span_attention.h.
#include "kernels/cuda/args.h"
#include "kernels/cuda/kv.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/rotary.cuh"

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

__device__ inline float read(const void* rows, DType type, int64_t i) {
  return type == DType::F32 ? static_cast<const float*>(rows)[i] : from_half(static_cast<const uint16_t*>(rows)[i]);
}

__device__ inline void write(void* rows, DType type, int64_t i, float value) {
  if (type == DType::F32)
    static_cast<float*>(rows)[i] = value;
  else
    static_cast<uint16_t*>(rows)[i] = to_finite_half(value);
}

// A half that is only moved keeps its bits, also those of an infinity or a NaN.
__device__ inline void move(const void* from, DType from_type, int64_t i, void* to, DType to_type, int64_t j) {
  if (from_type == DType::F16 && to_type == DType::F16)
    static_cast<uint16_t*>(to)[j] = static_cast<const uint16_t*>(from)[i];
  else
    write(to, to_type, j, read(from, from_type, i));
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

// Grid: (tokens, heads, layers). Block: any.
extern "C" __global__ void kv_write(const KvArgs asked) {
  const KvArgs a = placed(asked);
  each_row(a, [&](uint8_t* stored, uint8_t* rows, int64_t row) {
    for (int i = threadIdx.x; i < a.kv.head_dim; i += blockDim.x) move(rows, a.type, row + i, stored, a.kv.type, i);
  });
}

// Grid: (tokens, heads, layers). Block: any.
extern "C" __global__ void kv_read(const KvArgs asked) {
  const KvArgs a = placed(asked);
  each_row(a, [&](uint8_t* stored, uint8_t* rows, int64_t row) {
    for (int i = threadIdx.x; i < a.kv.head_dim; i += blockDim.x) move(stored, a.kv.type, i, rows, a.type, row + i);
  });
}
