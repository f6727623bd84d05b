// Normalisation of rows: see backend.h.
#include "kernels/cuda/args.h"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels::cuda;

// A row, by a block of threads. What a thread reads of x, it may have written itself.
__device__ void rms_norm_row(const float* x, const float* weight, float eps, int cols, float* out) {
  __shared__ float partial[kMostWarps];
  float squares = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) squares += x[c] * x[c];
  const float inverse = 1.0f / sqrtf(block_sum(squares, partial) / cols + eps);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) out[c] = x[c] * inverse * weight[c];
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void rms_norm(const NormArgs a) {
  const int64_t row = int64_t{blockIdx.x} * a.cols;
  rms_norm_row(a.x + row, a.weight, a.eps, a.cols, a.out + row);
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void add_rms_norm(const AddNormArgs a) {
  const int64_t row = int64_t{blockIdx.x} * a.cols;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) a.x[row + c] += a.scale * a.y[row + c];
  rms_norm_row(a.x + row, a.weight, a.eps, a.cols, a.out + row);
}

// Grid: rows. Block: whole warps, any number.
extern "C" __global__ void layer_norm(const NormArgs a) {
  __shared__ float partial[2][kMostWarps];
  const float* x = a.x + int64_t{blockIdx.x} * a.cols;
  float* out = a.out + int64_t{blockIdx.x} * a.cols;
  float sum = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) sum += x[c];
  const float mean = block_sum(sum, partial[0]) / a.cols;
  float squares = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) squares += (x[c] - mean) * (x[c] - mean);
  const float inverse = 1.0f / sqrtf(block_sum(squares, partial[1]) / a.cols + a.eps);
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) out[c] = (x[c] - mean) * inverse * a.weight[c] + a.bias[c];
}
