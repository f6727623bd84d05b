// Operations on rows. Compiled once per instruction set; see simd.h for what may not stand here.
#include "kernels/fast_cpu.h"
#include "kernels/fast_training.h"

#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

// Loads or stores `n` values of a vector whose rest does not matter: a tail is padded, so cutting changes no bit.
inline Vf load_part(const float* p, int64_t n) {
  if (n >= kWidth) return load(p);
  Vf v = {};
  std::memcpy(&v, p, static_cast<size_t>(n) * 4);
  return v;
}
inline void store_part(float* p, Vf v, int64_t n) {
  std::memcpy(p, &v, n >= kWidth ? sizeof v : static_cast<size_t>(n) * 4);
}

void rms_norm(const float* x, const float* weight, float eps, int rows, int cols, float* out) {
  for (int r = 0; r < rows; ++r, x += cols, out += cols) {
    Vf squares = {};
    for (int c = 0; c < cols; c += kWidth) {
      const Vf v = load_part(x + c, cols - c);
      squares = fma(v, v, squares);
    }
    const float mean = horizontal_sum(squares) / static_cast<float>(cols);
    const float inverse = 1.0f / __builtin_sqrtf(mean + eps);
    for (int c = 0; c < cols; c += kWidth)
      store_part(out + c, load_part(x + c, cols - c) * inverse * load_part(weight + c, cols - c), cols - c);
  }
}

// One in the first n lanes, zero in the others.
inline Vf first_lanes(int64_t n) {
  const Vf ones = splat(1.0f);
  Vf v = {};
  std::memcpy(&v, &ones, n >= kWidth ? sizeof v : static_cast<size_t>(n) * 4);
  return v;
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int rows, int cols, float* out) {
  for (int r = 0; r < rows; ++r, x += cols, out += cols) {
    Vf sum = {}, squares = {};
    for (int c = 0; c < cols; c += kWidth) sum += load_part(x + c, cols - c);
    const Vf mean = splat(horizontal_sum(sum) / static_cast<float>(cols));
    for (int c = 0; c < cols; c += kWidth) {
      const Vf v = (load_part(x + c, cols - c) - mean) * first_lanes(cols - c);
      squares = fma(v, v, squares);
    }
    const float inverse = 1.0f / __builtin_sqrtf(horizontal_sum(squares) / static_cast<float>(cols) + eps);
    for (int c = 0; c < cols; c += kWidth) {
      const Vf v = (load_part(x + c, cols - c) - mean) * inverse;
      store_part(out + c, fma(v, load_part(weight + c, cols - c), load_part(bias + c, cols - c)), cols - c);
    }
  }
}

// 1/(1+e^-x) from e^-|x|, which cannot overflow.
inline Vf sigmoid(Vf x) {
  const Vf e = exp_nonpositive(x < 0.0f ? x : -x);
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

inline Vf twice_gelu_argument(Vf x) {
  constexpr float kTwoRoot = 1.5957691216f;  // 2 * sqrt(2/pi)
  return kTwoRoot * fma(x * x * x, splat(0.044715f), x);
}

// (1 + erf(x / sqrt 2)) / 2, to 1e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26, for 1 - erf of
// |x| / sqrt 2.
inline Vf normal_distribution(Vf x) {
  const Vf z = (x < 0.0f ? -x : x) * 0.70710678f;
  const Vf t = 1.0f / fma(z, splat(0.3275911f), splat(1.0f));
  Vf p = splat(1.061405429f);
  p = fma(p, t, splat(-1.453152027f));
  p = fma(p, t, splat(1.421413741f));
  p = fma(p, t, splat(-0.284496736f));
  p = fma(p, t, splat(0.254829592f));
  const Vf half_tail = 0.5f * p * t * exp_nonpositive(-z * z);
  return x < 0.0f ? half_tail : 1.0f - half_tail;
}

inline Vf opening(Activation activation, Vf x) {
  if (activation == Activation::GeluErf) return normal_distribution(x);
  return sigmoid(activation == Activation::Silu ? x : twice_gelu_argument(x));
}

void gate(Activation activation, float* gate, const float* up, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; i += kWidth) {
    const Vf x = load_part(gate + i, last - i);
    const Vf y = x * opening(activation, x);
    store_part(gate + i, up == nullptr ? y : y * load_part(up + i, last - i), last - i);
  }
}

void add(float* x, const float* y, float scale, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; i += kWidth)
    store_part(x + i, fma(load_part(y + i, last - i), splat(scale), load_part(x + i, last - i)), last - i);
}

}  // namespace

const FastOps& fast_ops() {
  static const FastOps ops{LONGLEAF_ISA_NAME,
                           kTileTokens,
                           prepare_activations,
                           prepare_bfloat,
                           matmul_panels,
                           matmul_bfloat,
                           attend,
                           rms_norm,
                           layer_norm,
                           gate,
                           add,
                           &fast_training()};
  return ops;
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
