// Compiled once per instruction set; see simd.h for what may not stand here.
#include "kernels/fast_cpu.h"

#include <cmath>

#include "kernels/blocks.h"
#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

// R rows of weights times T tokens, each output in one vector accumulator: the order of summation does not depend on
// R or T. 4 x 4 keeps 16 accumulators, which the registers of AVX-512 hold with room for the operands.
template <int R, int T>
inline void tile(const float* w, const float* x, int cols, float* sums) {
  Vf acc[R][T] = {};
  int c = 0;
  for (; c + kWidth <= cols; c += kWidth) {
    Vf wv[R];
    for (int r = 0; r < R; ++r) wv[r] = load(w + static_cast<int64_t>(r) * cols + c);
    for (int t = 0; t < T; ++t) {
      const Vf xv = load(x + static_cast<int64_t>(t) * cols + c);
      for (int r = 0; r < R; ++r) acc[r][t] += wv[r] * xv;
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      float tail = 0;
      for (int i = c; i < cols; ++i)
        tail += w[static_cast<int64_t>(r) * cols + i] * x[static_cast<int64_t>(t) * cols + i];
      sums[r * T + t] = horizontal_sum(acc[r][t]) + tail;
    }
  }
}

template <int R, int T>
inline void tile_out(const float* w, const float* bias, const float* x, int cols, float* out, int out_stride) {
  float sums[R * T];
  tile<R, T>(w, x, cols, sums);
  for (int t = 0; t < T; ++t)
    for (int r = 0; r < R; ++r)
      out[static_cast<int64_t>(t) * out_stride + r] = sums[r * T + t] + (bias != nullptr ? bias[r] : 0.0f);
}

template <int R>
inline void rows_times_tokens(const float* w, const float* bias, const float* x, int cols, int n_tokens, float* out,
                              int out_stride) {
  int t = 0;
  for (; t + 4 <= n_tokens; t += 4)
    tile_out<R, 4>(w, bias, x + static_cast<int64_t>(t) * cols, cols, out + static_cast<int64_t>(t) * out_stride,
                   out_stride);
  for (; t < n_tokens; ++t)
    tile_out<R, 1>(w, bias, x + static_cast<int64_t>(t) * cols, cols, out + static_cast<int64_t>(t) * out_stride,
                   out_stride);
}

void matmul_rows(const Weight& w, const float* bias, const float* x, int n_tokens, float* out, int first, int last,
                 float* scratch) {
  const size_t stride = row_bytes(w.type, w.cols);
  const uint8_t* packed = reinterpret_cast<const uint8_t*>(w.data) + static_cast<size_t>(first) * stride;
  const float* rows = reinterpret_cast<const float*>(packed);
  if (w.type != DType::F32) {
    for (int r = first; r < last; ++r)
      dequantize_row(w.type, packed + static_cast<size_t>(r - first) * stride, w.cols,
                     scratch + static_cast<int64_t>(r - first) * w.cols);
    rows = scratch;
  }
  int r = first;
  for (; r + 4 <= last; r += 4)
    rows_times_tokens<4>(rows + static_cast<int64_t>(r - first) * w.cols, bias != nullptr ? bias + r : nullptr, x,
                         w.cols, n_tokens, out + r, w.rows);
  for (; r < last; ++r)
    rows_times_tokens<1>(rows + static_cast<int64_t>(r - first) * w.cols, bias != nullptr ? bias + r : nullptr, x,
                         w.cols, n_tokens, out + r, w.rows);
}

// The state of one query row while spans stream past.
struct Rows {
  const SpanAttentionArgs& a;
  int kv_head, first, last, heads;
  float* queries;  // (tokens * heads, head_dim), rotated back by the current span's shift
  float* sums;     // (tokens * heads, head_dim)
  float* top;      // running maximum per row
  float* total;    // running sum of exponentials per row
  float* keys;     // (kPageTokens, head_dim) f32
  float* values;
  float* scores;  // (kPageTokens)
};

inline void rotate_back(float* head, int shift, const SpanAttentionArgs& a) {
  if (shift == 0) return;
  const float* inv_freq = reinterpret_cast<const float*>(a.inv_freq);
  const int pairs = a.rope_dims / 2;
  for (int i = 0; i < pairs; ++i) {
    const double angle = -static_cast<double>(shift) * static_cast<double>(inv_freq[i]);
    const float c = static_cast<float>(::cos(angle)), s = static_cast<float>(::sin(angle));
    float& x = a.rope_style == RopeStyle::Adjacent ? head[2 * i] : head[i];
    float& y = a.rope_style == RopeStyle::Adjacent ? head[2 * i + 1] : head[i + pairs];
    const float rotated = x * c - y * s;
    y = x * s + y * c;
    x = rotated;
  }
}

void load_queries(const Rows& rows, int shift) {
  const int d = rows.a.kv.head_dim;
  for (int t = rows.first; t < rows.last; ++t) {
    for (int h = 0; h < rows.heads; ++h) {
      const float* q = reinterpret_cast<const float*>(rows.a.q) +
                       (static_cast<int64_t>(t) * rows.a.n_heads + rows.kv_head * rows.heads + h) * d;
      float* to = rows.queries + (static_cast<int64_t>(t - rows.first) * rows.heads + h) * d;
      std::memcpy(to, q, static_cast<size_t>(d) * 4);
      rotate_back(to, shift, rows.a);
    }
  }
}

// K and V of `n` keys from `key` on, all on one page, as floats.
void load_keys(const Rows& rows, int key, int n) {
  const KvView& kv = rows.a.kv;
  uint8_t* const* pages = reinterpret_cast<uint8_t* const*>(kv.page_table);
  const size_t row = static_cast<size_t>(kv.head_dim) * static_cast<size_t>(kv.type == DType::F32 ? 4 : 2);
  const uint8_t* layer = pages[key / kPageTokens] + kv.layer_offset + static_cast<size_t>(key % kPageTokens) * row;
  const uint8_t* k = layer + static_cast<size_t>(rows.kv_head) * kPageTokens * row;
  const uint8_t* v = layer + static_cast<size_t>(kv.n_kv_heads + rows.kv_head) * kPageTokens * row;
  dequantize_row(kv.type, k, n * kv.head_dim, rows.keys);
  dequantize_row(kv.type, v, n * kv.head_dim, rows.values);
}

// Folds `n` loaded keys into query row `row` (online softmax).
void fold(const Rows& rows, int row, int n) {
  const int d = rows.a.kv.head_dim;
  const float* q = rows.queries + static_cast<int64_t>(row) * d;
  float* sum = rows.sums + static_cast<int64_t>(row) * d;
  float top = rows.top[row];
  for (int i = 0; i < n; ++i) {
    rows.scores[i] = rows.a.scale * dot(q, rows.keys + static_cast<int64_t>(i) * d, d);
    top = rows.scores[i] > top ? rows.scores[i] : top;
  }
  for (int i = n; i < kPageTokens; ++i) rows.scores[i] = -1e30f;
  for (int i = 0; i < kPageTokens; i += kWidth) store(rows.scores + i, exp_nonpositive(load(rows.scores + i) - top));
  if (top != rows.top[row]) {
    float keep[kWidth];
    store(keep, exp_nonpositive(splat(rows.top[row] - top)));
    rows.total[row] *= keep[0];
    for (int j = 0; j < d; ++j) sum[j] *= keep[0];
    rows.top[row] = top;
  }
  for (int i = 0; i < n; ++i) rows.total[row] += rows.scores[i];
  int j = 0;
  for (; j + kWidth <= d; j += kWidth) {
    Vf acc = load(sum + j);
    for (int i = 0; i < n; ++i) acc += splat(rows.scores[i]) * load(rows.values + static_cast<int64_t>(i) * d + j);
    store(sum + j, acc);
  }
  for (; j < d; ++j)
    for (int i = 0; i < n; ++i) sum[j] += rows.scores[i] * rows.values[static_cast<int64_t>(i) * d + j];
}

// Tiles end at page borders, so the same keys are always folded in the same pieces.
void attend_span(const Rows& rows, const Span& span) {
  const int end = span.key_begin + span.length;
  for (int key = span.key_begin; key < end;) {
    const int page_end = (key / kPageTokens + 1) * kPageTokens;
    const int n = (page_end < end ? page_end : end) - key;
    if (span.causal != 0 && key > rows.a.first_key + rows.last - 1) return;
    load_keys(rows, key, n);
    for (int t = rows.first; t < rows.last; ++t) {
      const int own = rows.a.first_key + t;
      const int visible = span.causal != 0 && own - key + 1 < n ? own - key + 1 : n;
      for (int h = 0; visible > 0 && h < rows.heads; ++h) fold(rows, (t - rows.first) * rows.heads + h, visible);
    }
    key += n;
  }
}

void attend(const SpanAttentionArgs& a, int kv_head, int first, int last, float* scratch) {
  const int d = a.kv.head_dim, heads = a.n_heads / a.kv.n_kv_heads, n = (last - first) * heads;
  Rows rows{a, kv_head, first, last, heads, scratch, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  rows.sums = rows.queries + static_cast<int64_t>(n) * d;
  rows.top = rows.sums + static_cast<int64_t>(n) * d;
  rows.total = rows.top + n;
  rows.keys = rows.total + n;
  rows.values = rows.keys + static_cast<int64_t>(kPageTokens) * d;
  rows.scores = rows.values + static_cast<int64_t>(kPageTokens) * d;
  for (int64_t i = 0; i < static_cast<int64_t>(n) * d; ++i) rows.sums[i] = 0;
  for (int i = 0; i < n; ++i) rows.top[i] = -1e30f, rows.total[i] = 0;

  const auto* spans = reinterpret_cast<const Span*>(a.spans);
  const auto* group_begin = reinterpret_cast<const int32_t*>(a.group_begin);
  const int group = kv_head / (a.kv.n_kv_heads / a.n_groups);
  int loaded_shift = -1;
  bool loaded = false;
  for (int s = group_begin[group]; s < group_begin[group + 1]; ++s) {
    if (!loaded || spans[s].rope_shift != loaded_shift) load_queries(rows, spans[s].rope_shift);
    loaded = true;
    loaded_shift = spans[s].rope_shift;
    attend_span(rows, spans[s]);
  }
  for (int t = first; t < last; ++t) {
    for (int h = 0; h < heads; ++h) {
      const int row = (t - first) * heads + h;
      float* out = reinterpret_cast<float*>(a.out) + (static_cast<int64_t>(t) * a.n_heads + kv_head * heads + h) * d;
      const float inverse = rows.total[row] > 0 ? 1.0f / rows.total[row] : 0.0f;
      for (int j = 0; j < d; ++j) out[j] = rows.sums[static_cast<int64_t>(row) * d + j] * inverse;
    }
  }
}

// x*sigmoid(x) from e^-|x|, which cannot overflow. The tail is padded to a whole vector, so cutting changes no bit.
void silu_mul(float* gate, const float* up, int64_t first, int64_t last) {
  for (int64_t i = first; i < last; i += kWidth) {
    const int n = last - i < kWidth ? static_cast<int>(last - i) : kWidth;
    Vf x = {}, y = {};
    std::memcpy(&x, gate + i, static_cast<size_t>(n) * 4);
    std::memcpy(&y, up + i, static_cast<size_t>(n) * 4);
    const Vf e = exp_nonpositive(x < 0.0f ? x : -x);
    const Vf sigmoid = (x < 0.0f ? e : splat(1.0f)) / (1.0f + e);
    const Vf result = x * sigmoid * y;
    std::memcpy(gate + i, &result, static_cast<size_t>(n) * 4);
  }
}

}  // namespace

const FastOps& fast_ops() {
  static constexpr FastOps ops{LONGLEAF_ISA_NAME, matmul_rows, attend, silu_mul};
  return ops;
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
