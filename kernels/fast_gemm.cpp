// Products of any two matrices of floats. Compiled once per instruction set; see simd.h for what may not stand here.
// Blocks of both are copied to where they are read in order, then multiplied in tiles that stay in registers: Goto and
// van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (ACM TOMS 34, 2008).
#include "kernels/fast_training.h"
#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

constexpr int kTileRows = LONGLEAF_SIMD_BYTES >= 64 ? 12 : 6;
constexpr int kTileVectors = 2;
constexpr int kTileCols = kTileVectors * kWidth;
static_assert(kGemmRows % kTileRows == 0 && kGemmCols % kTileCols == 0);

inline int smaller(int a, int b) { return a < b ? a : b; }

// A strip of kStrip rows of a view, column by column.
template <int kStrip>
inline void pack_strip(const float* from, int64_t row_stride, int64_t col_stride, int depth, float* to) {
  if (row_stride == 1) {
    for (int k = 0; k < depth; ++k) std::memcpy(to + int64_t{k} * kStrip, from + k * col_stride, kStrip * 4);
    return;
  }
  for (int k = 0; k < depth; ++k, to += kStrip)
#pragma GCC unroll 32
    for (int i = 0; i < kStrip; ++i) to[i] = from[i * row_stride + k * col_stride];
}

// Strips of a view's `n` rows, of `depth` columns; rows that are missing are zero.
template <int kStrip>
void pack(const float* from, int64_t row_stride, int64_t col_stride, int n, int depth, float* to) {
  int first = 0;
  for (; first + kStrip <= n; first += kStrip, to += int64_t{kStrip} * depth)
    pack_strip<kStrip>(from + first * row_stride, row_stride, col_stride, depth, to);
  if (first == n) return;
  std::memset(to, 0, static_cast<size_t>(depth) * kStrip * 4);
  for (int i = first; i < n; ++i)
    for (int k = 0; k < depth; ++k) to[int64_t{k} * kStrip + i - first] = from[i * row_stride + k * col_stride];
}

// c (rows, cols) = alpha * a · b, or added to c, for strips a and b of `depth`.
struct TileOut {
  float* c;
  int64_t stride;
  int rows, cols;
  float alpha;
  bool add;
};

inline void write_vector(const TileOut& out, int row, int col, Vf sum) {
  const int n = smaller(kWidth, out.cols - col);
  if (n <= 0) return;
  float* c = out.c + row * out.stride + col;
  Vf before = {};
  const size_t bytes = static_cast<size_t>(n) * 4;
  if (n == kWidth) {
    store(c, out.add ? fma(sum, splat(out.alpha), load(c)) : sum * out.alpha);
    return;
  }
  if (out.add) std::memcpy(&before, c, bytes);
  const Vf value = out.add ? fma(sum, splat(out.alpha), before) : sum * out.alpha;
  std::memcpy(c, &value, bytes);
}

void multiply_tile(const float* a, const float* b, int depth, const TileOut& out) {
  Vf sums[kTileRows][kTileVectors] = {};
  for (int k = 0; k < depth; ++k, a += kTileRows, b += kTileCols) {
    Vf row[kTileVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kTileVectors; ++v) row[v] = load(b + v * kWidth);
#pragma GCC unroll 16
    for (int i = 0; i < kTileRows; ++i) {
      const Vf x = splat(a[i]);
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) sums[i][v] = fma(x, row[v], sums[i][v]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileRows; ++i) {
    if (i >= out.rows) break;
#pragma GCC unroll 4
    for (int v = 0; v < kTileVectors; ++v) write_vector(out, i, v * kWidth, sums[i][v]);
  }
}

// c (rows, cols) = or += alpha * a · b, for rows and columns that fit the scratch, with b's strips ready.
void multiply_block(const GemmArgs& g, int row, int rows, int col, int cols, int k, int depth, float* strips_a,
                    const float* strips_b) {
  const auto* a = reinterpret_cast<const float*>(g.a.data) + row * g.a.row_stride + k * g.a.col_stride;
  float* c = reinterpret_cast<float*>(g.c) + row * g.c_stride + col;
  pack<kTileRows>(a, g.a.row_stride, g.a.col_stride, rows, depth, strips_a);
  for (int j = 0; j < cols; j += kTileCols)
    for (int i = 0; i < rows; i += kTileRows)
      multiply_tile(strips_a + int64_t{i} * depth, strips_b + int64_t{j} * depth, depth,
                    {c + i * g.c_stride + j, g.c_stride, smaller(kTileRows, rows - i), smaller(kTileCols, cols - j),
                     g.alpha, g.add || k > 0});
}

void clear(const GemmArgs& g, int row, int end_row, int col, int end_col) {
  for (int i = row; i < end_row; ++i)
    std::memset(reinterpret_cast<float*>(g.c) + i * g.c_stride + col, 0, static_cast<size_t>(end_col - col) * 4);
}

}  // namespace

void gemm(const GemmArgs& g, int row, int end_row, int col, int end_col, float* scratch) {
  float* strips_a = scratch;
  float* strips_b = scratch + int64_t{kGemmRows} * kGemmDepth;
  if (g.k == 0 && !g.add) clear(g, row, end_row, col, end_col);
  for (int j = col; j < end_col; j += kGemmCols) {
    const int cols = smaller(kGemmCols, end_col - j);
    for (int k = 0; k < g.k; k += kGemmDepth) {
      const int depth = smaller(kGemmDepth, g.k - k);
      const auto* b = reinterpret_cast<const float*>(g.b.data) + k * g.b.row_stride + j * g.b.col_stride;
      pack<kTileCols>(b, g.b.col_stride, g.b.row_stride, cols, depth, strips_b);
      for (int i = row; i < end_row; i += kGemmRows)
        multiply_block(g, i, smaller(kGemmRows, end_row - i), j, cols, k, depth, strips_a, strips_b);
    }
  }
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
