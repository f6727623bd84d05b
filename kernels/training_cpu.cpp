#include "kernels/training_cpu.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace longleaf::kernels::twin {
namespace {

float* floats(DevicePtr p) { return reinterpret_cast<float*>(p); }

double element(const MatrixView& m, int64_t i, int64_t j) {
  return double{floats(m.data)[i * m.row_stride + j * m.col_stride]};
}

double dot(const float* a, const float* b, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

void gemm(const GemmArgs& g) {
  for (int i = 0; i < g.m; ++i) {
    for (int j = 0; j < g.n; ++j) {
      double sum = 0;
      for (int k = 0; k < g.k; ++k) sum += element(g.a, i, k) * element(g.b, k, j);
      float& c = floats(g.c)[i * g.c_stride + j];
      c = static_cast<float>((g.add ? double{c} : 0.0) + double{g.alpha} * sum);
    }
  }
}

// With r = 1 / sqrt(mean(x²) + eps):  dx = r (w dy) - r³ x <w dy, x> / cols.
void rms_norm_back(const NormBack& a) {
  const float* weight = floats(a.weight);
  for (int row = 0; row < a.rows; ++row) {
    const int64_t offset = int64_t{row} * a.cols;
    const float *x = floats(a.x) + offset, *dy = floats(a.dy) + offset;
    const double r = 1 / std::sqrt(dot(x, x, a.cols) / a.cols + double{a.eps});
    double along = 0;
    for (int c = 0; c < a.cols; ++c) along += double{weight[c]} * double{dy[c]} * double{x[c]};
    for (int c = 0; c < a.cols; ++c) {
      const double back = r * double{weight[c]} * double{dy[c]} - r * r * r * double{x[c]} * along / a.cols;
      floats(a.dx)[offset + c] += static_cast<float>(back);
      if (a.dweight != nullptr) floats(a.dweight)[c] += static_cast<float>(double{dy[c]} * double{x[c]} * r);
    }
  }
}

Bend bend(Activation activation, double x) {
  if (activation == Activation::GeluErf) {
    const double share = std::erfc(-x / std::numbers::sqrt2) / 2;
    return {x * share, share + x * std::exp(-x * x / 2) / std::sqrt(2 * std::numbers::pi)};
  }
  const double root = std::sqrt(2 / std::numbers::pi);
  const bool silu = activation == Activation::Silu;
  const double u = silu ? x : 2 * root * (x + 0.044715 * x * x * x);
  const double du = silu ? 1 : 2 * root * (1 + 3 * 0.044715 * x * x);
  const double share = 1 / (1 + std::exp(-u));
  return {x * share, share + x * share * (1 - share) * du};
}

void gate_back(const GateBack& a) {
  for (int64_t i = 0; i < a.n; ++i) {
    const Bend b = bend(a.activation, double{floats(a.gate)[i]});
    const double up = a.up == nullptr ? 1.0 : double{floats(a.up)[i]}, dy = double{floats(a.dy)[i]};
    floats(a.dgate)[i] += static_cast<float>(dy * up * b.slope);
    if (a.up != nullptr) floats(a.dup)[i] += static_cast<float>(dy * b.value);
  }
}

namespace {

// One query head of one query: where its rows begin, and which keys it sees.
struct Query {
  int64_t row;    // of q and out, in numbers
  int64_t entry;  // of norms
  int kv_head, first_key, end_key;
};

template <typename Visit>
void for_queries(const SequenceAttention& a, const Visit& visit) {
  for (const Sequence& s : a.sequences) {
    for (int i = 0; i < s.n_queries; ++i) {
      const int own = s.n_keys - s.n_queries + i;  // in its sequence
      const int first = a.window > 0 ? std::max(0, own + 1 - a.window) : 0;
      for (int h = 0; h < a.n_heads; ++h) {
        const int64_t entry = int64_t{s.query_begin + i} * a.n_heads + h;
        visit(Query{entry * a.head_dim, entry, h / (a.n_heads / a.n_kv_heads), s.key_begin + first,
                    s.key_begin + own + 1});
      }
    }
  }
}

int64_t key_row(const SequenceAttention& a, int key, int kv_head) {
  return (int64_t{key} * a.n_kv_heads + kv_head) * a.head_dim;
}

// The score, and its slope against scale * <q, k>.
Bend score(const SequenceAttention& a, const Query& query, int key) {
  const double raw =
      double{a.scale} * dot(floats(a.q) + query.row, floats(a.k) + key_row(a, key, query.kv_head), a.head_dim);
  if (a.soft_cap <= 0) return {raw, 1};
  const double bent = std::tanh(raw / double{a.soft_cap});
  return {double{a.soft_cap} * bent, 1 - bent * bent};
}

}  // namespace

void attention(const SequenceAttention& a) {
  for_queries(a, [&](const Query& query) {
    std::vector<double> scores, sum(static_cast<size_t>(a.head_dim), 0.0);
    for (int key = query.first_key; key < query.end_key; ++key) scores.push_back(score(a, query, key).value);
    const double top = *std::max_element(scores.begin(), scores.end());
    double total = 0;
    for (size_t i = 0; i < scores.size(); ++i) {
      const double p = std::exp(scores[i] - top);
      const float* value = floats(a.v) + key_row(a, query.first_key + static_cast<int>(i), query.kv_head);
      for (size_t c = 0; c < sum.size(); ++c) sum[c] += p * double{value[c]};
      total += p;
    }
    for (size_t c = 0; c < sum.size(); ++c)
      floats(a.out)[query.row + static_cast<int64_t>(c)] = static_cast<float>(sum[c] / total);
    floats(a.norms)[query.entry] = static_cast<float>(top + std::log(total));
  });
}

// With p the softmax: dv += p dout, ds = p (<dout, v> - <dout, out>), and from ds as from any product.
void attention_back(const SequenceAttentionBack& b) {
  const SequenceAttention& a = b.of;
  for_queries(a, [&](const Query& query) {
    const float *q = floats(a.q) + query.row, *dout = floats(b.dout) + query.row;
    const double along = dot(dout, floats(a.out) + query.row, a.head_dim);
    for (int key = query.first_key; key < query.end_key; ++key) {
      const int64_t row = key_row(a, key, query.kv_head);
      const Bend s = score(a, query, key);
      const double p = std::exp(s.value - double{floats(a.norms)[query.entry]});
      const double ds = p * (dot(dout, floats(a.v) + row, a.head_dim) - along) * s.slope * double{a.scale};
      for (int c = 0; c < a.head_dim; ++c) {
        floats(b.dq)[query.row + c] += static_cast<float>(ds * double{floats(a.k)[row + c]});
        floats(b.dk)[row + c] += static_cast<float>(ds * double{q[c]});
        floats(b.dv)[row + c] += static_cast<float>(p * double{dout[c]});
      }
    }
  });
}

void cross_entropy(const CrossEntropy& a) {
  const auto* targets = reinterpret_cast<const int32_t*>(a.targets);
  std::vector<double> z(static_cast<size_t>(a.cols));
  for (int row = 0; row < a.rows; ++row) {
    float* logits = floats(a.logits) + int64_t{row} * a.cols;
    for (size_t c = 0; c < z.size(); ++c) {
      z[c] = double{a.scale} * double{logits[c]};
      if (a.soft_cap > 0) z[c] = double{a.soft_cap} * std::tanh(z[c] / double{a.soft_cap});
    }
    const double top = *std::max_element(z.begin(), z.end());
    double total = 0;
    for (const double x : z) total += std::exp(x - top);
    const auto target = static_cast<size_t>(targets[row]);
    floats(a.losses)[row] = static_cast<float>(top + std::log(total) - z[target]);
    for (size_t c = 0; c < z.size(); ++c) {
      const double bent = a.soft_cap > 0 ? z[c] / double{a.soft_cap} : 0.0;
      const double back = std::exp(z[c] - top) / total - (c == target ? 1.0 : 0.0);
      logits[c] = static_cast<float>(back * double{floats(a.weights)[row]} * double{a.scale} * (1 - bent * bent));
    }
  }
}

void softmax(const SoftmaxArgs& a) {
  for (int row = 0; row < a.rows; ++row) {
    const float* x = floats(a.x) + int64_t{row} * a.cols;
    const double top = double{*std::max_element(x, x + a.cols)};
    double total = 0;
    for (int c = 0; c < a.cols; ++c) total += std::exp(double{x[c]} - top);
    for (int c = 0; c < a.cols; ++c)
      floats(a.y)[int64_t{row} * a.cols + c] = static_cast<float>(std::exp(double{x[c]} - top) / total);
  }
}

void softmax_back(const SoftmaxArgs& a) {
  for (int row = 0; row < a.rows; ++row) {
    const int64_t offset = int64_t{row} * a.cols;
    const float *y = floats(a.y) + offset, *dy = floats(a.dy) + offset;
    const double along = dot(y, dy, a.cols);
    for (int c = 0; c < a.cols; ++c)
      floats(a.dx)[offset + c] += static_cast<float>(double{y[c]} * (double{dy[c]} - along));
  }
}

void adam(const AdamStep& s) {
  const double first = 1 - std::pow(double{s.beta1}, static_cast<double>(s.step));
  const double second = 1 - std::pow(double{s.beta2}, static_cast<double>(s.step));
  for (int64_t i = 0; i < s.n; ++i) {
    const double g = double{s.gradient_scale} * double{floats(s.gradient)[i]};
    const double m = double{s.beta1} * double{floats(s.m)[i]} + (1 - double{s.beta1}) * g;
    const double v = double{s.beta2} * double{floats(s.v)[i]} + (1 - double{s.beta2}) * g * g;
    const double p = double{floats(s.value)[i]};
    floats(s.m)[i] = static_cast<float>(m);
    floats(s.v)[i] = static_cast<float>(v);
    floats(s.value)[i] = static_cast<float>(
        p - double{s.rate} * (m / first / (std::sqrt(v / second) + double{s.epsilon}) + double{s.decay} * p));
  }
}

}  // namespace longleaf::kernels::twin
