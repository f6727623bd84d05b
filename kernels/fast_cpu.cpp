// Operations on rows. Compiled once per instruction set; see simd.h for what may not stand here.
#include "kernels/fast_cpu.h"

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

// 1/(1+e^-x) from e^-|x|, which cannot overflow.
inline Vf sigmoid(Vf x) {
  const Vf e = exp_nonpositive(x < 0.0f ? x : -x);
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

inline Vf twice_gelu_argument(Vf x) {
  constexpr float kTwoRoot = 1.5957691216f;  // 2 * sqrt(2/pi)
  return kTwoRoot * fma(x * x * x, splat(0.044715f), x);
}

void gate(Activation activation, float* gate, const float* up, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; i += kWidth) {
    const Vf x = load_part(gate + i, last - i);
    const Vf open = sigmoid(activation == Activation::Silu ? x : twice_gelu_argument(x));
    store_part(gate + i, x * open * load_part(up + i, last - i), last - i);
  }
}

void add(float* x, const float* y, float scale, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; i += kWidth)
    store_part(x + i, fma(load_part(y + i, last - i), splat(scale), load_part(x + i, last - i)), last - i);
}

}  // namespace

const FastOps& fast_ops() {
  static const FastOps ops{
      LONGLEAF_ISA_NAME, kTileTokens, prepare_activations, matmul_panels, attend, rms_norm, gate, add};
  return ops;
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
