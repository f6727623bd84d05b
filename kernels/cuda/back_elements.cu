// Operations of training on single numbers: see kernels/training.h.
#include "kernels/cuda/activation.cuh"
#include "kernels/cuda/args.h"
#include "kernels/cuda/elements.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

// Grid and block of all but squares: any.
extern "C" __global__ void copy_numbers(const CopyArgs a) {
  for (int64_t i = first_element(); i < a.n; i += next_element()) a.to[i] = a.from[i];
}

extern "C" __global__ void gate_back(const GateBack a) {
  const auto *gate = reinterpret_cast<const float*>(a.gate), *up = reinterpret_cast<const float*>(a.up);
  const auto* dy = reinterpret_cast<const float*>(a.dy);
  auto *dgate = reinterpret_cast<float*>(a.dgate), *dup = reinterpret_cast<float*>(a.dup);
  for (int64_t i = first_element(); i < a.n; i += next_element()) {
    const Bend bend = bend_at(a.activation, gate[i]);
    dgate[i] += dy[i] * (up == nullptr ? 1.0f : up[i]) * bend.slope;
    if (up != nullptr) dup[i] += dy[i] * bend.value;
  }
}

extern "C" __global__ void leaky(const LeakyArgs a) {
  for (int64_t i = first_element(); i < a.n; i += next_element()) a.out[i] = a.x[i] * (a.x[i] > 0 ? 1.0f : a.slope);
}

extern "C" __global__ void leaky_back(const LeakyArgs a) {
  for (int64_t i = first_element(); i < a.n; i += next_element()) a.out[i] += a.dy[i] * (a.x[i] > 0 ? 1.0f : a.slope);
}

extern "C" __global__ void adam(const AdamArgs a) {
  const AdamStep& s = a.step;
  auto *value = reinterpret_cast<float*>(s.value), *m = reinterpret_cast<float*>(s.m);
  auto* v = reinterpret_cast<float*>(s.v);
  const auto* gradient = reinterpret_cast<const float*>(s.gradient);
  for (int64_t i = first_element(); i < s.n; i += next_element()) {
    const float g = s.gradient_scale * gradient[i];
    m[i] = s.beta1 * m[i] + (1.0f - s.beta1) * g;
    v[i] = s.beta2 * v[i] + (1.0f - s.beta2) * g * g;
    value[i] -= s.rate * (m[i] / a.first_share / (sqrtf(v[i] / a.second_share) + s.epsilon) + s.decay * value[i]);
  }
}

// One sum per block. Grid: any. Block: kSumThreads.
extern "C" __global__ void squares(const SquaresArgs a) {
  __shared__ double sums[kSumThreads];
  double sum = 0;
  for (int64_t i = first_element(); i < a.n; i += next_element())
    sum += static_cast<double>(a.x[i]) * static_cast<double>(a.x[i]);
  sums[threadIdx.x] = sum;
  for (int half = kSumThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  if (threadIdx.x == 0) a.partial[blockIdx.x] = sums[0];
}
