// Operations on single numbers and on rows: see backend.h.
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/args.h"
#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

// Grid and block of these three: any.
extern "C" __global__ void gate(const GateArgs a) {
  for (int64_t i = first_element(); i < a.n; i += next_element()) {
    const float x = activate(a.activation, a.gate[i]);
    a.gate[i] = a.up == nullptr ? x : x * a.up[i];
  }
}

extern "C" __global__ void add(const AddArgs a) {
  for (int64_t i = first_element(); i < a.n; i += next_element()) a.x[i] += a.scale * a.y[i];
}

extern "C" __global__ void scale(const ScaleArgs a) {
  for (int64_t i = first_element(); i < a.n; i += next_element()) a.x[i] = a.factor == 0 ? 0.0f : a.x[i] * a.factor;
}

// Grid: rows to gather. Block: any.
extern "C" __global__ void gather_rows(const RowsArgs a) {
  const float* from = a.from + int64_t{a.ids[blockIdx.x]} * a.cols;
  float* to = a.to + int64_t{blockIdx.x} * a.cols;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) to[c] = from[c];
}

// Grid: rows to scatter; their ids are all different. Block: any.
extern "C" __global__ void scatter_add(const RowsArgs a) {
  const float* from = a.from + int64_t{blockIdx.x} * a.cols;
  float* to = a.to + int64_t{a.ids[blockIdx.x]} * a.cols;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) to[c] += a.weights[blockIdx.x] * from[c];
}

// Grid and block: at least one thread per column.
extern "C" __global__ void mean_rows(const MeanArgs a) {
  const int64_t c = first_element();
  if (c >= a.cols) return;
  double sum = 0;
  for (int r = 0; r < a.rows; ++r) sum += a.x[int64_t{r} * a.cols + c];
  a.out[c] = static_cast<float>(sum / a.rows);
}

namespace {

struct Best {
  float top;
  int at;
};

// The better of two, the first of equals.
__device__ inline Best better(const Best& a, const Best& b) {
  return b.top > a.top || (b.top == a.top && b.at < a.at) ? b : a;
}

__device__ inline Best warp_best(Best best) {
  for (int bits = kWarpThreads / 2; bits > 0; bits /= 2)
    best = better(best, {__shfl_xor_sync(kAllLanes, best.top, bits), __shfl_xor_sync(kAllLanes, best.at, bits)});
  return best;
}

}  // namespace

// Grid: rows. Block: whole warps.
extern "C" __global__ void best(const BestArgs a) {
  __shared__ float tops[kMostWarps];
  __shared__ int places[kMostWarps];
  const float* x = a.x + int64_t{blockIdx.x} * a.cols;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarpThreads, warp = thread / kWarpThreads;
  Best own{-INFINITY, a.cols};
  for (int c = thread; c < a.cols; c += static_cast<int>(blockDim.x))
    if (x[c] > own.top) own = {x[c], c};
  own = warp_best(own);
  if (lane == 0) tops[warp] = own.top, places[warp] = own.at;
  __syncthreads();
  if (warp > 0) return;
  const bool has_one = lane < static_cast<int>(blockDim.x) / kWarpThreads;
  own = warp_best(has_one ? Best{tops[lane], places[lane]} : Best{-INFINITY, a.cols});
  if (lane == 0) a.out[blockIdx.x] = own.at < a.cols ? own.at : 0;
}
