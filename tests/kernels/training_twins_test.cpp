// The twins of the operations of training against differences of the functions they differentiate, in double.
#include "kernels/training_cpu.h"

#include <functional>

#include "tests/support/attending.h"
#include "tests/support/kernels.h"

using namespace longleaf;
using namespace longleaf::kernels;
using namespace longleaf::test;

namespace {

using Numbers = std::vector<double>;

Numbers wide(const std::vector<float>& v) { return Numbers(v.begin(), v.end()); }

// Checks `gradient`, which was added to `before`, against central differences of f at x.
// Bound: the differences' own error (h² times a third derivative below a few units, and rounding over h), and rounding
// of the gradient to f32.
void check_gradient(const std::function<double(const Numbers&)>& f, const std::vector<float>& x,
                    const std::vector<float>& before, const std::vector<float>& gradient) {
  constexpr double kStep = 1e-5;
  Numbers at = wide(x);
  double top = 0;
  for (const float g : gradient) top = std::max(top, std::abs(double{g}));
  for (size_t i = 0; i < x.size(); ++i) {
    const double middle = at[i];
    at[i] = middle + kStep;
    const double above = f(at);
    at[i] = middle - kStep;
    const double slope = (above - f(at)) / (2 * kStep);
    at[i] = middle;
    const double error = std::abs(double{gradient[i]} - double{before[i]} - slope);
    CHECK(error <= 1e-6 * (1 + top));
  }
}

double weighted(const Numbers& y, const std::vector<float>& weights) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += y[i] * double{weights[i]};
  return sum;
}

Numbers norm_rows(const Numbers& x, const Numbers& weight, double eps) {
  Numbers y(x.size());
  const size_t cols = weight.size();
  for (size_t row = 0; row < x.size(); row += cols) {
    double squares = 0;
    for (size_t c = 0; c < cols; ++c) squares += x[row + c] * x[row + c];
    const double root = std::sqrt(squares / static_cast<double>(cols) + eps);
    for (size_t c = 0; c < cols; ++c) y[row + c] = x[row + c] / root * weight[c];
  }
  return y;
}

Numbers attend(const Attending& a, const Numbers& q, const Numbers& k, const Numbers& v) {
  Numbers out(a.query_size());
  const auto d = static_cast<size_t>(a.head_dim);
  for (const Sequence& s : a.sequences)
    for (int i = 0; i < s.n_queries; ++i)
      for (int h = 0; h < a.heads; ++h) {
        const size_t row = static_cast<size_t>((s.query_begin + i) * a.heads + h) * d;
        const int own = s.n_keys - s.n_queries + i;
        Numbers sum(d);
        double total = 0;
        for (int key = 0; key <= own; ++key) {
          if (a.window > 0 && own - key >= a.window) continue;
          const size_t at = static_cast<size_t>((s.key_begin + key) * a.kv_heads + h / (a.heads / a.kv_heads)) * d;
          double score = 0;
          for (size_t c = 0; c < d; ++c) score += a.scale * q[row + c] * k[at + c];
          if (a.soft_cap > 0) score = a.soft_cap * std::tanh(score / a.soft_cap);
          total += std::exp(score);
          for (size_t c = 0; c < d; ++c) sum[c] += std::exp(score) * v[at + c];
        }
        for (size_t c = 0; c < d; ++c) out[row + c] = sum[c] / total;
      }
  return out;
}

}  // namespace

TEST(the_norms_twin_agrees_with_differences) {
  const auto x = random_floats(3 * 7), weight = random_floats(7), dy = random_floats(3 * 7);
  const auto before_x = random_floats(3 * 7), before_weight = random_floats(7);
  auto dx = before_x, dweight = before_weight, xs = x, weights = weight, dys = dy;
  twin::rms_norm_back({ptr(xs), ptr(weights), ptr(dys), ptr(dx), ptr(dweight), 3, 7, 0.01f});
  const double eps = double{0.01f};
  check_gradient([&](const Numbers& at) { return weighted(norm_rows(at, wide(weight), eps), dy); }, x, before_x, dx);
  check_gradient([&](const Numbers& at) { return weighted(norm_rows(wide(x), at, eps), dy); }, weight, before_weight,
                 dweight);
}

TEST(the_gates_twin_agrees_with_differences) {
  for (Activation activation : {Activation::Silu, Activation::Gelu, Activation::GeluErf}) {
    auto gate = random_floats(40, 2), up = random_floats(40), dy = random_floats(40);
    const auto before = random_floats(40);
    auto dgate = before, dup = before;
    twin::gate_back({activation, ptr(gate), ptr(up), ptr(dy), ptr(dgate), ptr(dup), 40});
    const auto value = [&](const Numbers& g, const Numbers& u) {
      Numbers y(g.size());
      for (size_t i = 0; i < y.size(); ++i) {
        const double x = g[i], bent = std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x);
        y[i] = u[i] * (activation == Activation::Silu   ? x / (1 + std::exp(-x))
                       : activation == Activation::Gelu ? x * (1 + std::tanh(bent)) / 2
                                                        : x * (1 + std::erf(x / std::sqrt(2.0))) / 2);
      }
      return weighted(y, dy);
    };
    check_gradient([&](const Numbers& at) { return value(at, wide(up)); }, gate, before, dgate);
    check_gradient([&](const Numbers& at) { return value(wide(gate), at); }, up, before, dup);
    auto alone = before;
    twin::gate_back({activation, ptr(gate), nullptr, ptr(dy), ptr(alone), nullptr, 40});
    check_gradient([&](const Numbers& at) { return value(at, Numbers(40, 1.0)); }, gate, before, alone);
  }
}

TEST(attentions_twin_agrees_with_differences_with_caps_and_windows) {
  for (double cap : {0.0, 0.8}) {
    for (int window : {0, 1, 3}) {
      Attending shape;
      shape.soft_cap = cap > 0 ? double{static_cast<float>(cap)} : 0, shape.window = window;
      shape.scale = double{static_cast<float>(shape.scale)};
      auto q = random_floats(shape.query_size()), k = random_floats(shape.key_size());
      auto v = random_floats(shape.key_size()), dout = random_floats(shape.query_size());
      std::vector<float> out(q.size(), kNaN), norms(static_cast<size_t>(shape.queries * shape.heads), kNaN);
      SequenceAttention args = shape.args();
      args.q = ptr(q), args.k = ptr(k), args.v = ptr(v), args.out = ptr(out), args.norms = ptr(norms);
      twin::attention(args);
      const Numbers expected = attend(shape, wide(q), wide(k), wide(v));
      for (size_t i = 0; i < out.size(); ++i) CHECK(std::abs(double{out[i]} - expected[i]) < 1e-6);
      const auto before_q = random_floats(q.size()), before_k = random_floats(k.size());
      auto dq = before_q, dk = before_k, dv = before_k;
      twin::attention_back({args, ptr(dout), ptr(dq), ptr(dk), ptr(dv)});
      check_gradient([&](const Numbers& at) { return weighted(attend(shape, at, wide(k), wide(v)), dout); }, q,
                     before_q, dq);
      check_gradient([&](const Numbers& at) { return weighted(attend(shape, wide(q), at, wide(v)), dout); }, k,
                     before_k, dk);
      check_gradient([&](const Numbers& at) { return weighted(attend(shape, wide(q), wide(k), at), dout); }, v,
                     before_k, dv);
    }
  }
}

TEST(the_losses_twin_agrees_with_differences) {
  constexpr size_t kRows = 3, kCols = 9;
  for (double cap : {0.0, 1.5}) {
    const auto logits = random_floats(kRows * kCols), weights = random_floats(kRows);
    std::vector<int32_t> targets = {4, 0, 8};
    std::vector<float> losses(kRows, kNaN);
    auto back = logits, share = weights;
    twin::cross_entropy({ptr(back), ptr(targets), ptr(share), ptr(losses), 3, 9, 0.7f, static_cast<float>(cap)});
    const auto values = [&](const Numbers& x) {
      Numbers all(kRows);
      for (size_t row = 0; row < kRows; ++row) {
        double total = 0, target = 0;
        for (size_t c = 0; c < kCols; ++c) {
          double z = double{0.7f} * x[row * kCols + c];
          if (cap > 0) z = cap * std::tanh(z / cap);
          total += std::exp(z);
          if (static_cast<int32_t>(c) == targets[row]) target = z;
        }
        all[row] = std::log(total) - target;
      }
      return all;
    };
    const Numbers expected = values(wide(logits));
    for (size_t i = 0; i < kRows; ++i) CHECK(std::abs(double{losses[i]} - expected[i]) < 1e-6);
    check_gradient([&](const Numbers& at) { return weighted(values(at), weights); }, logits,
                   std::vector<float>(logits.size()), back);
  }
}

TEST(softmax_twins_agree_with_differences) {
  constexpr size_t kCols = 5;
  auto x = random_floats(2 * kCols), dy = random_floats(2 * kCols);
  const auto before = random_floats(2 * kCols);
  std::vector<float> y(x.size(), kNaN);
  auto dx = before;
  twin::softmax({ptr(x), ptr(y), nullptr, nullptr, 2, 5});
  twin::softmax_back({nullptr, ptr(y), ptr(dy), ptr(dx), 2, 5});
  const auto shares = [&](const Numbers& at) {
    Numbers all(at.size());
    for (size_t row = 0; row < at.size(); row += kCols) {
      double total = 0;
      for (size_t c = 0; c < kCols; ++c) total += std::exp(at[row + c]);
      for (size_t c = 0; c < kCols; ++c) all[row + c] = std::exp(at[row + c]) / total;
    }
    return all;
  };
  const Numbers expected = shares(wide(x));
  for (size_t i = 0; i < y.size(); ++i) CHECK(std::abs(double{y[i]} - expected[i]) < 1e-6);
  check_gradient([&](const Numbers& at) { return weighted(shares(at), dy); }, x, before, dx);
}
