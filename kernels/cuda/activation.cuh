// What gates or bends the feed-forward part, and its slope; see types.h.
#pragma once

#include "kernels/types.h"

namespace longleaf::kernels::cuda {

constexpr float kRootHalf = 0.70710678118654752f, kRootTwoOverPi = 0.79788456080286536f, kCubic = 0.044715f;

__device__ inline float activate(Activation activation, float x) {
  if (activation == Activation::GeluErf) return 0.5f * x * (1.0f + erff(x * kRootHalf));
  if (activation == Activation::Silu) return x / (1.0f + expf(-x));
  const float u = kRootTwoOverPi * (x + kCubic * x * x * x);
  return x / (1.0f + expf(-2.0f * u));
}

struct Bend {
  float value, slope;
};

__device__ inline Bend bend_at(Activation activation, float x) {
  if (activation == Activation::GeluErf) {
    const float share = 0.5f * erfcf(-x * kRootHalf);
    return {x * share, share + x * expf(-0.5f * x * x) * 0.5f * kRootTwoOverPi};
  }
  const bool silu = activation == Activation::Silu;
  const float u = silu ? x : 2.0f * kRootTwoOverPi * (x + kCubic * x * x * x);
  const float du = silu ? 1.0f : 2.0f * kRootTwoOverPi * (1.0f + 3.0f * kCubic * x * x);
  const float share = 1.0f / (1.0f + expf(-u));
  return {x * share, share + x * share * (1.0f - share) * du};
}

}  // namespace longleaf::kernels::cuda
