// Operations of training on rows: see kernels/training.h.
#include "kernels/cuda/args.h"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

template <typename T = float>
__device__ inline T* as(DevicePtr p) {
  return reinterpret_cast<T*>(p);
}

// Where the block's row begins.
__device__ inline int64_t own_row(int cols) { return int64_t{blockIdx.x} * cols; }

}  // namespace

// With r = 1 / sqrt(mean(x²) + eps):  dx = r (w dy) - r³ x <w dy, x> / cols; r is kept for norm_weight_back.
// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void rms_norm_back(const NormBackArgs args) {
  __shared__ float partial[2][kMostWarps];
  const NormBack& a = args.of;
  const int64_t row = own_row(a.cols);
  const float *x = as(a.x) + row, *dy = as(a.dy) + row, *weight = as(a.weight);
  float squares = 0, along = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) {
    squares += x[c] * x[c];
    along += weight[c] * dy[c] * x[c];
  }
  const float r = 1.0f / sqrtf(block_sum(squares, partial[0]) / a.cols + a.eps);
  const float back = r * r * r * block_sum(along, partial[1]) / a.cols;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) as(a.dx)[row + c] += r * weight[c] * dy[c] - back * x[c];
  if (threadIdx.x == 0) args.inverse[blockIdx.x] = r;
}

// dweight += sum over rows of dy x r. A warp of columns, eight slices of rows, summed in their order.
// Grid: cols / 32. Block: kSliceThreads.
extern "C" __global__ void norm_weight_back(const NormBackArgs args) {
  __shared__ float partial[kRowSlices][kWarpThreads];
  const NormBack& a = args.of;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads, slice = static_cast<int>(threadIdx.x) / kWarpThreads;
  const int c = static_cast<int>(blockIdx.x) * kWarpThreads + lane;
  float sum = 0;
  if (c < a.cols) {
    for (int row = slice; row < a.rows; row += kRowSlices) {
      const int64_t at = int64_t{row} * a.cols + c;
      sum += as(a.dy)[at] * as(a.x)[at] * args.inverse[row];
    }
  }
  partial[slice][lane] = sum;
  __syncthreads();
  if (slice != 0 || c >= a.cols) return;
  for (int i = 1; i < kRowSlices; ++i) sum += partial[i][lane];
  as(a.dweight)[c] += sum;
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void cross_entropy(const CrossEntropy a) {
  __shared__ float partial[2][kMostWarps];
  float* logits = as(a.logits) + own_row(a.cols);
  const auto score = [&a](float x) {
    const float z = a.scale * x;
    return a.soft_cap > 0 ? a.soft_cap * tanhf(z / a.soft_cap) : z;
  };
  float top = -INFINITY, total = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) top = fmaxf(top, score(logits[c]));
  top = block_max(top, partial[0]);
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) total += expf(score(logits[c]) - top);
  total = block_sum(total, partial[1]);
  const int target = as<int32_t>(a.targets)[blockIdx.x];
  const float weight = as(a.weights)[blockIdx.x] * a.scale, wanted = score(logits[target]);
  __syncthreads();  // the target's score is read before it is written over
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float z = score(logits[c]), bent = a.soft_cap > 0 ? z / a.soft_cap : 0.0f;
    logits[c] = (expf(z - top) / total - (c == target ? 1.0f : 0.0f)) * weight * (1.0f - bent * bent);
  }
  if (threadIdx.x == 0) as(a.losses)[blockIdx.x] = top + logf(total) - wanted;
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void softmax(const SoftmaxArgs a) {
  __shared__ float partial[2][kMostWarps];
  const float* x = as(a.x) + own_row(a.cols);
  float* y = as(a.y) + own_row(a.cols);
  float top = -INFINITY, total = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) top = fmaxf(top, x[c]);
  top = block_max(top, partial[0]);
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) total += expf(x[c] - top);
  total = block_sum(total, partial[1]);
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) y[c] = expf(x[c] - top) / total;
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void softmax_back(const SoftmaxArgs a) {
  __shared__ float partial[kMostWarps];
  const int64_t row = own_row(a.cols);
  const float *y = as(a.y) + row, *dy = as(a.dy) + row;
  float along = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) along += y[c] * dy[c];
  along = block_sum(along, partial);
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) as(a.dx)[row + c] += y[c] * (dy[c] - along);
}

// The first row of each id adds it and all later ones of the same id, in their order.
// Grid: rows to add. Block: whole warps, any number.
extern "C" __global__ void add_rows(const AddRowsArgs a) {
  __shared__ unsigned same[kMostWarps];  // of as many ids as there are threads: which are the own one
  const int first = static_cast<int>(blockIdx.x), id = a.ids[first], n_threads = static_cast<int>(blockDim.x);
  const int thread = static_cast<int>(threadIdx.x), warp = thread / kWarpThreads;
  const auto find = [&](int i, int end) {
    const unsigned found = __ballot_sync(kAllLanes, i < end && a.ids[i] == id);
    if (thread % kWarpThreads == 0) same[warp] = found;
    __syncthreads();
  };
  for (int i = 0; i < first; i += n_threads) {
    find(i + thread, first);
    for (int w = 0; w < n_threads / kWarpThreads; ++w)
      if (same[w] != 0) return;  // all threads: an earlier row adds it
    __syncthreads();
  }
  float* x = a.x + int64_t{id} * a.cols;
  for (int i = first; i < a.n; i += n_threads) {
    find(i + thread, a.n);
    for (int w = 0; w < n_threads / kWarpThreads; ++w) {
      for (unsigned left = same[w]; left != 0; left &= left - 1) {
        const float* row = a.rows + (int64_t{i} + w * kWarpThreads + __ffs(static_cast<int>(left)) - 1) * a.cols;
        for (int c = thread; c < a.cols; c += n_threads) x[c] += row[c];
      }
    }
    __syncthreads();
  }
}

// Grid: rows. Block: any.
extern "C" __global__ void scale_rows(const ScaleRowsArgs a) {
  const int64_t row = own_row(a.cols);
  const float factor = a.factors[blockIdx.x];
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x)
    a.out[row + c] = (a.add ? a.out[row + c] : 0.0f) + a.x[row + c] * factor;
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void dot_rows(const DotRowsArgs a) {
  __shared__ float partial[kMostWarps];
  const int64_t row = own_row(a.cols);
  float sum = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) sum += a.x[row + c] * a.y[row + c];
  sum = block_sum(sum, partial);
  if (threadIdx.x == 0) a.out[blockIdx.x] += sum;
}
