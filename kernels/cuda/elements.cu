// Operations on single numbers and on rows: see backend.h.
#include "kernels/cuda/args.h"
#include "kernels/cuda/numbers.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

__device__ inline int64_t first_element() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ inline int64_t next_element() { return int64_t{gridDim.x} * blockDim.x; }

__device__ inline float activate(Activation activation, float x) {
  if (activation == Activation::GeluErf) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  if (activation == Activation::Silu) return x / (1.0f + expf(-x));
  const float u = 0.79788456080286536f * (x + 0.044715f * x * x * x);
  return x / (1.0f + expf(-2.0f * u));
}

}  // namespace

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
