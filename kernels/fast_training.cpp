// What flows back through operations on rows and elements, and the optimiser's step. Compiled once per instruction
// set; see simd.h for what may not stand here.
#include "kernels/fast_training.h"

#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

inline float* floats(DevicePtr p) { return reinterpret_cast<float*>(p); }

// `n` numbers of a vector whose rest is `rest`.
inline Vf load_part(const float* p, int64_t n, float rest = 0) {
  if (n >= kWidth) return load(p);
  Vf v = splat(rest);
  std::memcpy(&v, p, static_cast<size_t>(n) * 4);
  return v;
}
inline void store_part(float* p, Vf v, int64_t n) {
  std::memcpy(p, &v, n >= kWidth ? sizeof v : static_cast<size_t>(n) * 4);
}
inline void add_part(float* p, Vf v, int64_t n) { store_part(p, load_part(p, n) + v, n); }

void rms_norm_back(const NormBack& a, int first, int last, float* inverses) {
  const float* weight = floats(a.weight);
  for (int row = first; row < last; ++row) {
    const int64_t offset = int64_t{row} * a.cols;
    const float *x = floats(a.x) + offset, *dy = floats(a.dy) + offset;
    float* dx = floats(a.dx) + offset;
    Vf squares = {}, along = {};
    for (int c = 0; c < a.cols; c += kWidth) {
      const Vf v = load_part(x + c, a.cols - c);
      squares = fma(v, v, squares);
      along = fma(v * load_part(weight + c, a.cols - c), load_part(dy + c, a.cols - c), along);
    }
    const auto cols = static_cast<float>(a.cols);
    const float inverse = 1.0f / __builtin_sqrtf(horizontal_sum(squares) / cols + a.eps);
    const float share = inverse * inverse * inverse * horizontal_sum(along) / cols;
    for (int c = 0; c < a.cols; c += kWidth) {
      const int64_t n = a.cols - c;
      add_part(dx + c, inverse * load_part(weight + c, n) * load_part(dy + c, n) - share * load_part(x + c, n), n);
    }
    inverses[row] = inverse;
  }
}

void norm_weight_back(const NormBack& a, const float* inverses, int first, int last) {
  for (int row = 0; row < a.rows; ++row) {
    const int64_t offset = int64_t{row} * a.cols;
    for (int c = first; c < last; c += kWidth) {
      const int64_t n = last - c;
      add_part(floats(a.dweight) + c,
               load_part(floats(a.dy) + offset + c, n) * load_part(floats(a.x) + offset + c, n) * inverses[row], n);
    }
  }
}

// 1/(1+e^-x) from e^-|x|, which cannot overflow.
inline Vf sigmoid(Vf x) {
  const Vf e = exp_nonpositive(x < 0.0f ? x : -x);
  return (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
}

void gate_back(const GateBack& a, int64_t first, int64_t last) {
  constexpr float kTwoRoot = 1.5957691216f;  // 2 * sqrt(2/pi)
  const bool silu = a.activation == Activation::Silu;
  for (int64_t i = first; i < last; i += kWidth) {
    const int64_t n = last - i;
    const Vf x = load_part(floats(a.gate) + i, n), dy = load_part(floats(a.dy) + i, n);
    const Vf u = silu ? x : kTwoRoot * fma(x * x * x, splat(0.044715f), x);
    const Vf du = silu ? splat(1.0f) : kTwoRoot * fma(x * x, splat(3 * 0.044715f), splat(1.0f));
    const Vf share = sigmoid(u), slope = fma(x * share * (1.0f - share), du, share);
    const Vf up = a.up == nullptr ? splat(1.0f) : load_part(floats(a.up) + i, n);
    add_part(floats(a.dgate) + i, dy * up * slope, n);
    if (a.up != nullptr) add_part(floats(a.dup) + i, dy * x * share, n);
  }
}

inline Vf tanh_of(Vf x) {
  const Vf e = exp_nonpositive(-2.0f * (x < 0.0f ? -x : x));
  const Vf t = (1.0f - e) / (1.0f + e);
  return x < 0.0f ? -t : t;
}

void cross_entropy(const CrossEntropy& a, int first, int last) {
  const auto* targets = reinterpret_cast<const int32_t*>(a.targets);
  constexpr float kNothing = -1e30f;  // below any logit
  for (int row = first; row < last; ++row) {
    float* z = floats(a.logits) + int64_t{row} * a.cols;
    Vf tops = splat(kNothing), totals = {};
    for (int c = 0; c < a.cols; c += kWidth) {
      Vf v = load_part(z + c, a.cols - c) * a.scale;
      if (a.soft_cap > 0) v = a.soft_cap * tanh_of(v / a.soft_cap);
      store_part(z + c, v, a.cols - c);
      v = load_part(z + c, a.cols - c, kNothing);
      tops = v > tops ? v : tops;
    }
    const float top = largest_lane(tops);
    for (int c = 0; c < a.cols; c += kWidth) totals += exp_nonpositive(load_part(z + c, a.cols - c, kNothing) - top);
    const float total = horizontal_sum(totals), norm = top + __builtin_logf(total), at_target = z[targets[row]];
    floats(a.losses)[row] = norm - at_target;
    const float share = floats(a.weights)[row] * a.scale;
    const float bent = a.soft_cap > 0 ? at_target / a.soft_cap : 0.0f;
    for (int c = 0; c < a.cols; c += kWidth) {
      const Vf v = load_part(z + c, a.cols - c, kNothing);
      Vf back = exp_nonpositive(v - top) * (share / total);
      if (a.soft_cap > 0) back *= 1.0f - v / a.soft_cap * (v / a.soft_cap);
      store_part(z + c, back, a.cols - c);
    }
    z[targets[row]] -= share * (1.0f - bent * bent);
  }
}

void adam(const AdamStep& s, int64_t first, int64_t last) {
  const auto first_weight = static_cast<float>(1.0 - __builtin_pow(double{s.beta1}, static_cast<double>(s.step)));
  const auto second_weight = static_cast<float>(1.0 - __builtin_pow(double{s.beta2}, static_cast<double>(s.step)));
  const float rest1 = 1 - s.beta1, rest2 = 1 - s.beta2;
  float *value = floats(s.value), *m = floats(s.m), *v = floats(s.v);
  const float* gradient = floats(s.gradient);
  for (int64_t i = first; i < last; ++i) {
    const float g = s.gradient_scale * gradient[i];
    m[i] = s.beta1 * m[i] + rest1 * g;
    v[i] = s.beta2 * v[i] + rest2 * g * g;
    const float step = m[i] / first_weight / (__builtin_sqrtf(v[i] / second_weight) + s.epsilon);
    value[i] -= s.rate * (step + s.decay * value[i]);
  }
}

double squares(const float* x, int64_t first, int64_t last) {
  double sums[8] = {};  // so that the additions do not wait for each other
  int64_t i = first;
  for (; i + 8 <= last; i += 8)
    for (int lane = 0; lane < 8; ++lane) sums[lane] += double{x[i + lane]} * double{x[i + lane]};
  for (; i < last; ++i) sums[0] += double{x[i]} * double{x[i]};
  double sum = 0;
  for (const double one : sums) sum += one;
  return sum;
}

}  // namespace

const FastTraining& fast_training() {
  static const FastTraining ops{
      gemm,          rms_norm_back, norm_weight_back, gate_back, attend_sequence, attend_sequence_back,
      cross_entropy, adam,          squares};
  return ops;
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
