#include "kernels/ops_cpu.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/blocks.h"

namespace longleaf::kernels::twin {
namespace {

const uint8_t* bytes(DevicePtr p) { return reinterpret_cast<const uint8_t*>(p); }

// Start of the (kPageTokens, head_dim) tile of K (or V) of `head` that holds key `key`.
uint8_t* kv_tile(const KvView& kv, int key, int head, bool value) {
  auto* const* pages = reinterpret_cast<uint8_t* const*>(kv.page_table);
  const size_t element = static_cast<size_t>(format_of(kv.type).bytes);
  const size_t tile = static_cast<size_t>(kPageTokens) * static_cast<size_t>(kv.head_dim) * element;
  const auto index = static_cast<size_t>((value ? kv.n_kv_heads : 0) + head);
  return pages[key / kPageTokens] + kv.layer_offset + index * tile;
}

uint8_t* kv_row(const KvView& kv, int key, int head, bool value) {
  const auto slot = static_cast<size_t>(key % kPageTokens);
  return kv_tile(kv, key, head, value) + slot * static_cast<size_t>(kv.head_dim * format_of(kv.type).bytes);
}

void convert_row(const uint8_t* from, DType from_type, uint8_t* to, DType to_type, int n) {
  if (from_type == to_type) {
    std::memcpy(to, from, static_cast<size_t>(n * format_of(to_type).bytes));
  } else if (to_type == DType::F32) {
    dequantize_row(from_type, from, n, reinterpret_cast<float*>(to));
  } else {
    const auto* source = reinterpret_cast<const float*>(from);
    auto* target = reinterpret_cast<uint16_t*>(to);
    for (int i = 0; i < n; ++i) target[i] = float_to_half(source[i]);
  }
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
      read_row(a.kv, key, kv_head, false, key_row);
      read_row(a.kv, key, kv_head, true, value_row);
      double dot = 0;
      for (size_t i = 0; i < query.size(); ++i) dot += double{query[i]} * double{key_row[i]};
      row.scores.push_back(dot * double{a.scale});
      row.values.push_back(value_row);
    }
  }
  return row;
}

}  // namespace

void embed(const Weight& table, const int32_t* ids, int n_tokens, float* out) {
  const size_t stride = row_bytes(table.type, table.cols);
  for (int t = 0; t < n_tokens; ++t)
    dequantize_row(table.type, bytes(table.data) + static_cast<size_t>(ids[t]) * stride, table.cols,
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

void matmul(const Weight& w, const float* bias, const float* x, int n_tokens, float* out) {
  std::vector<float> row(static_cast<size_t>(w.cols));
  for (int r = 0; r < w.rows; ++r) {
    dequantize_row(w.type, bytes(w.data) + static_cast<size_t>(r) * row_bytes(w.type, w.cols), w.cols, row.data());
    for (int t = 0; t < n_tokens; ++t) {
      double sum = bias != nullptr ? double{bias[r]} : 0.0;
      for (int c = 0; c < w.cols; ++c) sum += double{row[static_cast<size_t>(c)]} * double{x[int64_t{t} * w.cols + c]};
      out[int64_t{t} * w.rows + r] = static_cast<float>(sum);
    }
  }
}

void rotate_head(float* head, double position, const float* inv_freq, int rope_dims, RopeStyle style) {
  if (position == 0) return;
  const int pairs = rope_dims / 2;
  for (int i = 0; i < pairs; ++i) {
    const double angle = position * double{inv_freq[i]};
    const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
    float& a = style == RopeStyle::Adjacent ? head[2 * i] : head[i];
    float& b = style == RopeStyle::Adjacent ? head[2 * i + 1] : head[i + pairs];
    const float rotated = a * c - b * s;
    b = a * s + b * c;
    a = rotated;
  }
}

void rope(const RopeArgs& a, int first, int last) {
  const auto* positions = reinterpret_cast<const int32_t*>(a.positions);
  const auto* inv_freq = reinterpret_cast<const float*>(a.inv_freq);
  auto* x = reinterpret_cast<float*>(a.x);
  for (int t = first; t < last; ++t)
    for (int h = 0; h < a.n_heads; ++h)
      rotate_head(x + (int64_t{t} * a.n_heads + h) * a.head_dim, positions[t], inv_freq, a.rope_dims, a.style);
}

void kv_write(const KvRowsArgs& a) {
  const auto stride = static_cast<size_t>(a.kv.head_dim * format_of(a.type).bytes);
  for (int t = 0; t < a.n_tokens; ++t) {
    for (int h = 0; h < a.kv.n_kv_heads; ++h) {
      const size_t from = static_cast<size_t>(t * a.kv.n_kv_heads + h) * stride;
      convert_row(bytes(a.k) + from, a.type, kv_row(a.kv, a.first_key + t, h, false), a.kv.type, a.kv.head_dim);
      convert_row(bytes(a.v) + from, a.type, kv_row(a.kv, a.first_key + t, h, true), a.kv.type, a.kv.head_dim);
    }
  }
}

void kv_read(const KvRowsArgs& a) {
  const auto stride = static_cast<size_t>(a.kv.head_dim * format_of(a.type).bytes);
  auto* k = reinterpret_cast<uint8_t*>(a.k);
  auto* v = reinterpret_cast<uint8_t*>(a.v);
  for (int t = 0; t < a.n_tokens; ++t) {
    for (int h = 0; h < a.kv.n_kv_heads; ++h) {
      const size_t to = static_cast<size_t>(t * a.kv.n_kv_heads + h) * stride;
      convert_row(kv_row(a.kv, a.first_key + t, h, false), a.kv.type, k + to, a.type, a.kv.head_dim);
      convert_row(kv_row(a.kv, a.first_key + t, h, true), a.kv.type, v + to, a.type, a.kv.head_dim);
    }
  }
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

void silu_mul(float* gate, const float* up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) gate[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
}

void mean_rows(const float* x, int rows, int cols, float* out) {
  for (int c = 0; c < cols; ++c) {
    double sum = 0;
    for (int r = 0; r < rows; ++r) sum += double{x[int64_t{r} * cols + c]};
    out[c] = static_cast<float>(sum / rows);
  }
}

}  // namespace longleaf::kernels::twin
