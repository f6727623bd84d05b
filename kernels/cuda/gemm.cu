// Products of any two matrices of floats, each as it lies or transposed: see kernels/training.h. And of many tokens
// with weights that tensor cores do not take as they are: F32, F16, and on Turing BF16. Every element is summed by one
// thread in the order of k, whatever the tile.
#include "kernels/cuda/args.h"
#include "kernels/cuda/gemm_tiles.h"
#include "kernels/cuda/numbers.cuh"
#include "kernels/training_types.h"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

// Numbers from one step of k to the next in shared memory: four more than a tile, so that columns of it are spread over
// the banks and fours stay aligned.
template <int kPerThread>
constexpr int kTileStride = gemm_tile(kPerThread) + 4;

// A number of a matrix that is stored as T.
template <DType T>
__device__ inline float number(const void* data, int64_t i) {
  if constexpr (T == DType::F32) return static_cast<const float*>(data)[i];
  const uint16_t bits = static_cast<const uint16_t*>(data)[i];
  return T == DType::F16 ? from_half(bits) : from_bfloat(bits);
}

// One operand: element (i, k) with i along the tile.
struct Operand {
  const void* data;
  int64_t i_stride, k_stride;
  int n, k;  // how many of each there are
};

// What this thread brings of every step of an operand: kPerThread numbers, a step apart in i or in k. Neighbouring
// threads take neighbouring addresses.
template <int kPerThread, DType T>
struct Piece {
  static constexpr int kTile = gemm_tile(kPerThread);

  __device__ Piece(const Operand& m, int first_i) {
    const int thread = static_cast<int>(threadIdx.x);
    const bool along_k = m.k_stride == 1;
    const int i = along_k ? thread / kGemmStep : thread % kTile;
    k_ = along_k ? thread % kGemmStep : thread / kTile;
    i_ = first_i + i;
    i_step_ = along_k ? kGemmThreads / kGemmStep : 0;
    k_step_ = along_k ? 0 : kGemmThreads / kTile;
    n_ = m.n, n_k_ = m.k;
    data_ = m.data;
    from_ = i_ * m.i_stride + k_ * m.k_stride;
    stride_ = i_step_ * m.i_stride + k_step_ * m.k_stride;
    next_ = kGemmStep * m.k_stride;
    to_ = k_ * kTileStride<kPerThread> + i;
    to_stride_ = k_step_ * kTileStride<kPerThread> + i_step_;
  }

  // The next step's, zeros beyond the last.
  __device__ void load() {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j)
      numbers_[j] = i_ + j * i_step_ < n_ && k_ + j * k_step_ < n_k_ ? number<T>(data_, from_ + j * stride_) : 0.0f;
    from_ += next_;
    k_ += kGemmStep;
  }

  __device__ void store(float* tile) const {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) tile[to_ + j * to_stride_] = numbers_[j];
  }

 private:
  const void* data_;
  int64_t from_, stride_, next_;
  int i_, k_, i_step_, k_step_, n_, n_k_, to_, to_stride_;
  float numbers_[kPerThread];
};

// Number j of those rows or columns of a tile that a thread has: fours that lie 64 apart.
__device__ inline int own(int thread, int j) { return j / 4 * 64 + thread * 4 + j % 4; }

template <int kPerThread>
__device__ inline void take(const float* tile, int k, int thread, float (&out)[kPerThread]) {
#pragma unroll
  for (int j = 0; j < kPerThread; j += 4) {
    const float4 four = *reinterpret_cast<const float4*>(tile + k * kTileStride<kPerThread> + own(thread, j));
    out[j] = four.x, out[j + 1] = four.y, out[j + 2] = four.z, out[j + 3] = four.w;
  }
}

// a_tile, b_tile: shared, one step of each operand. bias: added to every row, or nullptr.
template <int kPerThread, DType A = DType::F32, DType B = DType::F32>
__device__ inline void gemm(const GemmArgs& g, const float* bias, float* a_tile, float* b_tile) {
  constexpr int kTile = gemm_tile(kPerThread);
  const Operand a{g.a.data, g.a.row_stride, g.a.col_stride, g.m, g.k};
  const Operand b{g.b.data, g.b.col_stride, g.b.row_stride, g.n, g.k};
  const int first_row = static_cast<int>(blockIdx.y) * kTile, first_col = static_cast<int>(blockIdx.x) * kTile;
  const int down = static_cast<int>(threadIdx.x) / 16, across = static_cast<int>(threadIdx.x) % 16;
  float sums[kPerThread][kPerThread] = {};
  Piece<kPerThread, A> next_a(a, first_row);
  Piece<kPerThread, B> next_b(b, first_col);
  next_a.load(), next_b.load();
  for (int k = 0; k < g.k; k += kGemmStep) {
    next_a.store(a_tile), next_b.store(b_tile);
    __syncthreads();
    next_a.load(), next_b.load();
#pragma unroll
    for (int step = 0; step < kGemmStep; ++step) {
      float x[kPerThread], y[kPerThread];
      take<kPerThread>(a_tile, step, down, x), take<kPerThread>(b_tile, step, across, y);
#pragma unroll
      for (int i = 0; i < kPerThread; ++i)
#pragma unroll
        for (int j = 0; j < kPerThread; ++j) sums[i][j] = fmaf(x[i], y[j], sums[i][j]);
    }
    __syncthreads();
  }
  float* c = reinterpret_cast<float*>(g.c);
#pragma unroll
  for (int i = 0; i < kPerThread; ++i) {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) {
      const int row = first_row + own(down, i), col = first_col + own(across, j);
      if (row >= g.m || col >= g.n) continue;
      float& out = c[row * g.c_stride + col];
      const float behind = g.add ? out : bias != nullptr ? bias[col] : 0.0f;
      out = g.add || bias != nullptr ? fmaf(g.alpha, sums[i][j], behind) : g.alpha * sums[i][j];
    }
  }
}

}  // namespace

// Grid: (n / tile, m / tile), with the tile in the name. Block: kGemmThreads.
extern "C" __global__ void __launch_bounds__(256) gemm_64(const GemmArgs g) {
  __shared__ float4 tiles[2][kGemmStep * kTileStride<4> / 4];
  gemm<4>(g, nullptr, &tiles[0][0].x, &tiles[1][0].x);
}
extern "C" __global__ void __launch_bounds__(256) gemm_128(const GemmArgs g) {
  __shared__ float4 tiles[2][kGemmStep * kTileStride<8> / 4];
  gemm<8>(g, nullptr, &tiles[0][0].x, &tiles[1][0].x);
}

// Likewise: inputs as `input`, weights as `type`.
#define PRODUCT(type, input)                                                                          \
  extern "C" __global__ void __launch_bounds__(256, 2) product_##type##_64(const TileProductArgs a) { \
    __shared__ float4 tiles[2][kGemmStep * kTileStride<4> / 4];                                       \
    gemm<4, DType::input, DType::type>(a.gemm, a.bias, &tiles[0][0].x, &tiles[1][0].x);               \
  }                                                                                                   \
  extern "C" __global__ void __launch_bounds__(256) product_##type##_128(const TileProductArgs a) {   \
    __shared__ float4 tiles[2][kGemmStep * kTileStride<8> / 4];                                       \
    gemm<8, DType::input, DType::type>(a.gemm, a.bias, &tiles[0][0].x, &tiles[1][0].x);               \
  }
PRODUCT(F32, F32)
PRODUCT(BF16, BF16)
