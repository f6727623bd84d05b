// Rotary positions: which two numbers of a head turn together, and by how much.
#pragma once

#include "kernels/types.h"

namespace longleaf::kernels::cuda {

struct Pair {
  int first, second;
};

__device__ inline Pair pair_of(int index, int pairs, RopeStyle style) {
  return style == RopeStyle::Adjacent ? Pair{2 * index, 2 * index + 1} : Pair{index, index + pairs};
}

struct Turn {
  float cosine, sine;
};

// The turn by position * inv_freq radians. Whole turns are taken off in double, so that far positions lose nothing and
// f32 suffices for the rest.
__device__ inline Turn turn_of(int position, float inv_freq) {
  constexpr double kTurnsPerRadian = 0.15915494309189535;  // 1 / 2 pi
  const double turns = position * (double{inv_freq} * kTurnsPerRadian);
  Turn turn;
  sincospif(static_cast<float>(2 * (turns - rint(turns))), &turn.sine, &turn.cosine);
  return turn;
}

__device__ inline float first_of(float first, float second, const Turn& turn) {
  return first * turn.cosine - second * turn.sine;
}
__device__ inline float second_of(float first, float second, const Turn& turn) {
  return first * turn.sine + second * turn.cosine;
}

}  // namespace longleaf::kernels::cuda
