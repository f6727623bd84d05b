#include "kernels/ops_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/blocks.h"

namespace longleaf::kernels::twin {
namespace {

const uint8_t* bytes(DevicePtr p) { return reinterpret_cast<const uint8_t*>(p); }

// Start of the (kPageTokens, head_dim) tile of K (or V) of `head` that holds key `key`.
uint8_t* kv_tile(const KvView& kv, int key, int head, bool value) {
  auto* const* pages = reinterpret_cast<uint8_t* const*>(kv.page_table);
  const size_t tile = static_cast<size_t>(kPageTokens) * kv_row_bytes(kv.type, kv.head_dim);
  const auto index = static_cast<size_t>((value ? kv.n_kv_heads : 0) + head);
  return pages[key / kPageTokens] + kv.layer_offset + index * tile;
}

uint8_t* kv_row(const KvView& kv, int key, int head, bool value) {
  const auto slot = static_cast<size_t>(key % kPageTokens);
  return kv_tile(kv, key, head, value) + slot * kv_row_bytes(kv.type, kv.head_dim);
}

// Not infinite: 0 * inf is NaN, for a masked key too.
uint16_t to_finite_half(float x) {
  constexpr float kMost = 65504;
  return float_to_half(x > kMost ? kMost : x < -kMost ? -kMost : x);
}

constexpr uint16_t kMostHalf = 0x7bff;  // as bits: the largest finite one

// kKvBlock numbers: see span_attention.h.
void write_kv_block(const float* x, uint8_t* to) {
  float top = 0;
  bool is_number = true;
  for (int i = 0; i < kKvBlock; ++i) top = std::max(top, std::abs(x[i])), is_number = is_number && x[i] == x[i];
  uint16_t scale = is_number ? to_finite_half(top / 127.0f) : uint16_t{0x7e00};
  if (127.0f * half_to_float(scale) < top && scale < kMostHalf) ++scale;  // 127 of them reach the largest number
  const float unit = half_to_float(scale), inverse = unit > 0 ? 1.0f / unit : 0.0f;
  std::memcpy(to, &scale, sizeof scale);
  for (int i = 0; i < kKvBlock; ++i) {
    const float code = std::nearbyint(x[i] * inverse);
    to[2 + i] = static_cast<uint8_t>(static_cast<int8_t>(code >= 127 ? 127 : code > -127 ? code : -127));
  }
}

void write_row(const float* from, uint8_t* to, DType type, int n) {
  if (type == DType::F32) std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
  if (type == DType::F16)
    for (int i = 0; i < n; ++i) reinterpret_cast<uint16_t*>(to)[i] = to_finite_half(from[i]);
  if (type == DType::Q8_0)
    for (int i = 0; i < n / kKvBlock; ++i) write_kv_block(from + i * kKvBlock, to + i * kKvBlockBytes);
}

// `numbers`: scratch for n of them.
void convert_row(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int n, float* numbers) {
  if (from_type == to_type) {
    std::memcpy(to, from, kv_row_bytes(to_type, n));
  } else if (from_type == DType::F32) {
    write_row(reinterpret_cast<const float*>(from), to, to_type, n);
  } else {
    dequantize_row(from_type, from, n, numbers);
    write_row(numbers, to, to_type, n);
  }
}

constexpr size_t kActivationBlock = 32;

void round_to_8_bits(const float* x, double* out) {
  float top = 0;
  for (size_t i = 0; i < kActivationBlock; ++i) top = std::max(top, std::abs(x[i]));
  const float scale = top / 127.0f, inverse = top > 0 ? 127.0f / top : 0.0f;
  for (size_t i = 0; i < kActivationBlock; ++i) out[i] = double{scale} * double{std::nearbyint(x[i] * inverse)};
}

struct RowSoftmax {
  std::vector<double> scores;
  std::vector<std::vector<float>> values;
};

void read_row(const KvView& kv, int key, int head, bool value, std::vector<float>& out) {
  dequantize_row(kv.type, kv_row(kv, key, head, value), kv.head_dim, out.data());
}

// Gathers score and value of every key that query row (token, head) sees.
RowSoftmax gather(const SpanAttentionArgs& a, int token, int head) {
  const int kv_head = head / (a.n_heads / a.kv.n_kv_heads);
  const int group = kv_head / (a.kv.n_kv_heads / a.n_groups);
  const auto* spans = reinterpret_cast<const Span*>(a.spans);
  const auto* group_begin = reinterpret_cast<const int32_t*>(a.group_begin);
  const auto* q = reinterpret_cast<const float*>(a.q) + (int64_t{token} * a.n_heads + head) * a.kv.head_dim;
  RowSoftmax row;
  std::vector<float> key_row(static_cast<size_t>(a.kv.head_dim)), value_row = key_row, query = key_row;
  for (int s = group_begin[group]; s < group_begin[group + 1]; ++s) {
    std::copy(q, q + a.kv.head_dim, query.begin());
    rotate_head(query.data(), -spans[s].rope_shift, reinterpret_cast<const float*>(a.inv_freq), a.rope_dims,
                a.rope_style);
    for (int key = spans[s].key_begin; key < spans[s].key_begin + spans[s].length; ++key) {
      if (spans[s].causal != 0 && key > a.first_key + token) break;
      const int position = spans[s].position + key - spans[s].key_begin;
      if (a.window > 0 && reinterpret_cast<const int32_t*>(a.positions)[token] - position >= a.window) continue;
      read_row(a.kv, key, kv_head, false, key_row);
      read_row(a.kv, key, kv_head, true, value_row);
      double dot = 0;
      for (size_t i = 0; i < query.size(); ++i) dot += double{query[i]} * double{key_row[i]};
      const double score = dot * double{a.scale}, cap = double{a.soft_cap};
      row.scores.push_back(cap > 0 ? cap * std::tanh(score / cap) : score);
      row.values.push_back(value_row);
    }
  }
  return row;
}

}  // namespace

void embed(const Weight& table, const int32_t* ids, int n_tokens, float* out) {
  const size_t stride = row_bytes(table.type, table.cols);
  for (int t = 0; t < n_tokens; ++t)
    dequantize_row(table.type, table.data + static_cast<size_t>(ids[t]) * stride, table.cols,
                   out + int64_t{t} * table.cols);
}

void rms_norm(const float* x, const float* weight, float eps, int rows, int cols, float* out) {
  for (int r = 0; r < rows; ++r, x += cols, out += cols) {
    double squares = 0;
    for (int c = 0; c < cols; ++c) squares += double{x[c]} * double{x[c]};
    const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / cols + double{eps}));
    for (int c = 0; c < cols; ++c) out[c] = x[c] * inverse * weight[c];
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int rows, int cols, float* out) {
  for (int r = 0; r < rows; ++r, x += cols, out += cols) {
    double mean = 0, squares = 0;
    for (int c = 0; c < cols; ++c) mean += double{x[c]} / cols;
    for (int c = 0; c < cols; ++c) squares += (double{x[c]} - mean) * (double{x[c]} - mean);
    const double inverse = 1.0 / std::sqrt(squares / cols + double{eps});
    for (int c = 0; c < cols; ++c)
      out[c] = static_cast<float>((double{x[c]} - mean) * inverse * double{weight[c]} + double{bias[c]});
  }
}

void matmul(const PackedWeight& w, const float* bias, const float* x, int n_tokens, float* out) {
  const auto cols = static_cast<size_t>(w.cols);
  std::vector<float> row(cols);
  std::vector<double> input(cols * static_cast<size_t>(n_tokens));
  for (size_t i = 0; i < input.size(); ++i) input[i] = double{x[i]};
  if (w.type == DType::BF16)
    for (size_t i = 0; i < input.size(); ++i) input[i] = double{bfloat_to_float(float_to_bfloat(x[i]))};
  if (format_of(w.type).values > 1)
    for (size_t i = 0; i < input.size(); i += kActivationBlock) round_to_8_bits(x + i, input.data() + i);
  for (int r = 0; r < w.rows; ++r) {
    dequantize_row(w.type, bytes(w.data) + static_cast<size_t>(r) * row_bytes(w.type, w.cols), w.cols, row.data());
    for (int t = 0; t < n_tokens; ++t) {
      double sum = bias != nullptr ? double{bias[r]} : 0.0;
      for (size_t c = 0; c < cols; ++c) sum += double{row[c]} * input[static_cast<size_t>(t) * cols + c];
      out[int64_t{t} * w.rows + r] = static_cast<float>(sum);
    }
  }
}

namespace {

// cos and sin of every pair's angle at one position.
void angles(double position, const float* inv_freq, int pairs, float magnitude, std::vector<float>& cosines,
            std::vector<float>& sines) {
  cosines.resize(static_cast<size_t>(pairs));
  sines.resize(static_cast<size_t>(pairs));
  for (size_t i = 0; i < cosines.size(); ++i) {
    const double angle = position * double{inv_freq[i]};
    cosines[i] = static_cast<float>(std::cos(angle)) * magnitude;
    sines[i] = static_cast<float>(std::sin(angle)) * magnitude;
  }
}

void rotate(float* head, const std::vector<float>& cosines, const std::vector<float>& sines, RopeStyle style) {
  const size_t pairs = cosines.size();
  for (size_t i = 0; i < pairs; ++i) {
    float& a = style == RopeStyle::Adjacent ? head[2 * i] : head[i];
    float& b = style == RopeStyle::Adjacent ? head[2 * i + 1] : head[i + pairs];
    const float rotated = a * cosines[i] - b * sines[i];
    b = a * sines[i] + b * cosines[i];
    a = rotated;
  }
}

}  // namespace

void rotate_head(float* head, double position, const float* inv_freq, int rope_dims, RopeStyle style) {
  if (position == 0) return;
  std::vector<float> cosines, sines;
  angles(position, inv_freq, rope_dims / 2, 1.0f, cosines, sines);
  rotate(head, cosines, sines, style);
}

void rope(const RopeArgs& a, int first, int last) {
  const auto* positions = reinterpret_cast<const int32_t*>(a.positions);
  const auto* inv_freq = reinterpret_cast<const float*>(a.inv_freq);
  std::vector<float> cosines, sines;
  for (int t = first; t < last; ++t) {
    angles(positions[t], inv_freq, a.rope_dims / 2, a.magnitude, cosines, sines);
    for (int h = 0; h < a.n_heads; ++h)
      rotate(reinterpret_cast<float*>(a.x) + (int64_t{t} * a.n_heads + h) * a.head_dim, cosines, sines, a.style);
  }
}

namespace {

// Calls use(rows of the store, rows of K or V, bytes between heads) for every head of row i of all layers.
template <typename F>
void each_head(const KvRowsArgs& a, int i, F use) {
  const int layer = i / a.n_tokens, t = i % a.n_tokens;
  const KvView view = layer_of(a.kv, layer);
  const size_t stride = kv_row_bytes(a.type, a.kv.head_dim);
  for (int h = 0; h < a.kv.n_kv_heads; ++h) {
    const size_t at =
        static_cast<size_t>(layer) * a.rows_stride + static_cast<size_t>(t * a.kv.n_kv_heads + h) * stride;
    use(kv_row(view, a.first_key + t, h, false), reinterpret_cast<uint8_t*>(a.k) + at);
    use(kv_row(view, a.first_key + t, h, true), reinterpret_cast<uint8_t*>(a.v) + at);
  }
}

}  // namespace

void kv_write(const KvRowsArgs& a, int first, int last) {
  std::vector<float> numbers(static_cast<size_t>(a.kv.head_dim));
  for (int i = first; i < last; ++i)
    each_head(a, i, [&](uint8_t* stored, uint8_t* row) {
      convert_row(row, a.type, stored, a.kv.type, a.kv.head_dim, numbers.data());
    });
}

void kv_read(const KvRowsArgs& a, int first, int last) {
  std::vector<float> numbers(static_cast<size_t>(a.kv.head_dim));
  for (int i = first; i < last; ++i)
    each_head(a, i, [&](uint8_t* stored, uint8_t* row) {
      convert_row(stored, a.kv.type, row, a.type, a.kv.head_dim, numbers.data());
    });
}

void span_attention(const SpanAttentionArgs& a) {
  const int d = a.kv.head_dim;
  for (int t = 0; t < a.n_tokens; ++t) {
    for (int h = 0; h < a.n_heads; ++h) {
      const RowSoftmax row = gather(a, t, h);
      std::vector<double> sum(static_cast<size_t>(d), 0.0);
      double total = 0;
      const double top = row.scores.empty() ? 0.0 : *std::max_element(row.scores.begin(), row.scores.end());
      for (size_t i = 0; i < row.scores.size(); ++i) {
        const double p = std::exp(row.scores[i] - top);
        total += p;
        for (size_t j = 0; j < sum.size(); ++j) sum[j] += p * double{row.values[i][j]};
      }
      float* out = reinterpret_cast<float*>(a.out) + (int64_t{t} * a.n_heads + h) * d;
      for (size_t j = 0; j < sum.size(); ++j) out[j] = total > 0 ? static_cast<float>(sum[j] / total) : 0.0f;
    }
  }
}

namespace {

double activate(Activation activation, double x) {
  if (activation == Activation::GeluErf) return x * std::erfc(-x / std::numbers::sqrt2) / 2;
  const double u = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
  return x / (1 + std::exp(activation == Activation::Silu ? -x : -2 * u));
}

}  // namespace

void gate(Activation activation, float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    gate[i] = static_cast<float>(activate(activation, double{gate[i]}) * (up == nullptr ? 1.0 : double{up[i]}));
}

void add(float* x, const float* y, float scale, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] += scale * y[i];
}

void gather_rows(const float* x, const int32_t* ids, int n, int cols, float* out) {
  for (int i = 0; i < n; ++i) std::copy_n(x + int64_t{ids[i]} * cols, cols, out + int64_t{i} * cols);
}

void scatter_add(const float* rows, const int32_t* ids, const float* weights, int n, int cols, float* x) {
  for (int i = 0; i < n; ++i)
    for (int c = 0; c < cols; ++c) x[int64_t{ids[i]} * cols + c] += weights[i] * rows[int64_t{i} * cols + c];
}

int best(const float* row, int first, int last) {
  float top = -std::numeric_limits<float>::infinity();
  int at = -1;
  for (int i = first; i < last; ++i)
    if (row[i] > top) top = row[i], at = i;
  return at;
}

bool comes_before(const float* row, int32_t a, int32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; }

std::vector<int32_t> top(const float* row, int first, int last, int k) {
  const auto before = [row](int32_t a, int32_t b) { return comes_before(row, a, b); };
  std::vector<int32_t> kept;  // a heap whose first is the last in order
  for (int32_t i = first; i < last; ++i) {
    if (!(row[i] > -std::numeric_limits<float>::infinity())) continue;
    if (kept.size() == static_cast<size_t>(k)) {
      if (!before(i, kept.front())) continue;
      std::pop_heap(kept.begin(), kept.end(), before);
      kept.pop_back();
    }
    kept.push_back(i);
    std::push_heap(kept.begin(), kept.end(), before);
  }
  std::sort_heap(kept.begin(), kept.end(), before);
  return kept;
}

double softmax_sum(const float* row, int first, int last, float largest, float temperature) {
  double sum = 0;
  for (int i = first; i < last; ++i)
    if (row[i] > -std::numeric_limits<float>::infinity())
      sum += std::exp((double{row[i]} - double{largest}) / double{temperature});
  return sum;
}

void mean_rows(const float* x, int rows, int cols, float* out) {
  for (int c = 0; c < cols; ++c) {
    double sum = 0;
    for (int r = 0; r < rows; ++r) sum += double{x[int64_t{r} * cols + c]};
    out[c] = static_cast<float>(sum / rows);
  }
}

}  // namespace longleaf::kernels::twin
