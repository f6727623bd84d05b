// Products of any two matrices of floats, each as it lies or transposed: see kernels/training.h.
// Every element is summed by one thread in the order of k, whatever the tile.
#include "kernels/cuda/gemm_tiles.h"
#include "kernels/training_types.h"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

// Numbers from one step of k to the next in shared memory: four more than a tile, so that columns of it are spread over
// the banks and fours stay aligned.
template <int kPerThread>
constexpr int kTileStride = gemm_tile(kPerThread) + 4;

// One operand: element (i, k) with i along the tile.
struct Operand {
  const float* data;
  int64_t i_stride, k_stride;
  int n, k;  // how many of each there are
};

// The numbers of one step that this thread brings. Neighbouring threads take neighbouring addresses.
template <int kPerThread>
struct Piece {
  float numbers[kPerThread];

  static __device__ int2 place(const Operand& m, int j) {
    constexpr int kTile = gemm_tile(kPerThread);
    const int at = static_cast<int>(threadIdx.x) + j * kGemmThreads;
    if (m.k_stride == 1) return {at / kGemmStep, at % kGemmStep};
    return {at % kTile, at / kTile};
  }

  __device__ void load(const Operand& m, int first_i, int first_k) {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) {
      const int2 p = place(m, j);
      const int i = first_i + p.x, k = first_k + p.y;
      numbers[j] = i < m.n && k < m.k ? m.data[i * m.i_stride + k * m.k_stride] : 0.0f;
    }
  }

  __device__ void store(const Operand& m, float* tile) const {
#pragma unroll
    for (int j = 0; j < kPerThread; ++j) {
      const int2 p = place(m, j);
      tile[p.y * kTileStride<kPerThread> + p.x] = numbers[j];
    }
  }
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

// a_tile, b_tile: shared, one step of each operand.
template <int kPerThread>
__device__ inline void gemm(const GemmArgs& g, float* a_tile, float* b_tile) {
  constexpr int kTile = gemm_tile(kPerThread);
  const Operand a{reinterpret_cast<const float*>(g.a.data), g.a.row_stride, g.a.col_stride, g.m, g.k};
  const Operand b{reinterpret_cast<const float*>(g.b.data), g.b.col_stride, g.b.row_stride, g.n, g.k};
  const int first_row = static_cast<int>(blockIdx.y) * kTile, first_col = static_cast<int>(blockIdx.x) * kTile;
  const int down = static_cast<int>(threadIdx.x) / 16, across = static_cast<int>(threadIdx.x) % 16;
  float sums[kPerThread][kPerThread] = {};
  Piece<kPerThread> next_a, next_b;
  next_a.load(a, first_row, 0), next_b.load(b, first_col, 0);
  for (int k = 0; k < g.k; k += kGemmStep) {
    next_a.store(a, a_tile), next_b.store(b, b_tile);
    __syncthreads();
    next_a.load(a, first_row, k + kGemmStep), next_b.load(b, first_col, k + kGemmStep);
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
      out = g.add ? fmaf(g.alpha, sums[i][j], out) : g.alpha * sums[i][j];
    }
  }
}

}  // namespace

// Grid: (n / tile, m / tile), with the tile in the name. Block: kGemmThreads.
extern "C" __global__ void __launch_bounds__(256) gemm_64(const GemmArgs g) {
  __shared__ float4 tiles[2][kGemmStep * kTileStride<4> / 4];
  gemm<4>(g, &tiles[0][0].x, &tiles[1][0].x);
}
extern "C" __global__ void __launch_bounds__(256) gemm_128(const GemmArgs g) {
  __shared__ float4 tiles[2][kGemmStep * kTileStride<8> / 4];
  gemm<8>(g, &tiles[0][0].x, &tiles[1][0].x);
}
