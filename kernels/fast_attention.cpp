// Span attention. Compiled once per instruction set; see simd.h for what may not stand here.
// Query rows (tokens × heads that share a KV head) stand in lanes: every row runs through the same additions whether
// it is alone or in a tile, and the softmax needs nothing across lanes.
// Online softmax over tiles of keys: Dao et al., FlashAttention, arXiv 2205.14135.
#include "kernels/blocks.h"
#include "kernels/fast_cpu.h"
#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

constexpr int kMostVectors = LONGLEAF_SIMD_BYTES >= 64 ? 4 : 2;  // row vectors a micro-kernel holds at once
constexpr int kMicroRows = 4;  // divides a page's keys and every usual head: six were slower for the rest they leave

// The state of a tile of query rows while spans stream past. Matrices have `stride` rows in lanes.
struct Tile {
  const SpanAttentionArgs& a;
  int kv_head, first, last;  // query tokens
  int heads;                 // per KV head
  int rows, stride;          // tokens * heads; rounded up to whole vectors
  float* queries;            // (head_dim, stride), rotated back by the current span's shift
  float* sums;               // (head_dim, stride)
  float* top;                // (stride): largest score so far
  float* total;              // (stride): sum of exponentials so far
  float* low;                // (stride): first key of the page that the row sees, and
  float* high;               // (stride): the one behind its last; small integers
  float* scores;             // (kPageTokens, stride)
  float* keys;               // (kPageTokens, head_dim)
  float* values;             // (kPageTokens, head_dim)
};

constexpr float kNothing = -1e30f;  // below any score

// c (m, stride) = Σ_k b (k, stride) · a(m, k), or added to c. kV vectors of rows, kM rows of c.
template <int kV, int kM>
inline void micro(const float* a, int step_m, int step_k, int n_k, const float* b, float* c, int stride, bool add) {
  Vf sums[kM][kV];
#pragma GCC unroll 8
  for (int m = 0; m < kM; ++m)
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) sums[m][v] = add ? load(c + m * stride + v * kWidth) : Vf{};
  for (int k = 0; k < n_k; ++k) {
    Vf row[kV];
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) row[v] = load(b + k * stride + v * kWidth);
#pragma GCC unroll 8
    for (int m = 0; m < kM; ++m) {
      const Vf x = splat(a[m * step_m + k * step_k]);
#pragma GCC unroll 4
      for (int v = 0; v < kV; ++v) sums[m][v] = fma(x, row[v], sums[m][v]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kM; ++m)
#pragma GCC unroll 4
    for (int v = 0; v < kV; ++v) store(c + m * stride + v * kWidth, sums[m][v]);
}

template <int kV>
inline void product_columns(const float* a, int step_m, int n_m, int step_k, int n_k, const float* b, float* c,
                            int stride, bool add) {
  int m = 0;
  for (; m + kMicroRows <= n_m; m += kMicroRows)
    micro<kV, kMicroRows>(a + m * step_m, step_m, step_k, n_k, b, c + m * stride, stride, add);
  for (; m < n_m; ++m) micro<kV, 1>(a + m * step_m, step_m, step_k, n_k, b, c + m * stride, stride, add);
}

void product(const float* a, int step_m, int n_m, int step_k, int n_k, const float* b, float* c, int stride, bool add) {
  int at = 0;
  for (; at + kMostVectors * kWidth <= stride; at += kMostVectors * kWidth)
    product_columns<kMostVectors>(a, step_m, n_m, step_k, n_k, b + at, c + at, stride, add);
  for (; at < stride; at += kWidth) product_columns<1>(a, step_m, n_m, step_k, n_k, b + at, c + at, stride, add);
}

void rotate_back(const Tile& tile, int shift) {
  const float* inv_freq = reinterpret_cast<const float*>(tile.a.inv_freq);
  const int pairs = tile.a.rope_dims / 2;
  const bool adjacent = tile.a.rope_style == RopeStyle::Adjacent;
  for (int i = 0; i < pairs; ++i) {
    const double angle = -static_cast<double>(shift) * static_cast<double>(inv_freq[i]);
    const Vf c = splat(static_cast<float>(__builtin_cos(angle))), s = splat(static_cast<float>(__builtin_sin(angle)));
    float* first = tile.queries + (adjacent ? 2 * i : i) * tile.stride;
    float* second = tile.queries + (adjacent ? 2 * i + 1 : i + pairs) * tile.stride;
    for (int at = 0; at < tile.stride; at += kWidth) {
      const Vf x = load(first + at), y = load(second + at);
      store(first + at, x * c - y * s);
      store(second + at, x * s + y * c);
    }
  }
}

void load_queries(const Tile& tile, int shift) {
  const int d = tile.a.kv.head_dim;
  for (int row = 0; row < tile.stride; ++row) {
    const int token = tile.first + row / tile.heads, head = tile.kv_head * tile.heads + row % tile.heads;
    const float* q = reinterpret_cast<const float*>(tile.a.q) + (int64_t{token} * tile.a.n_heads + head) * d;
    for (int i = 0; i < d; ++i) tile.queries[i * tile.stride + row] = row < tile.rows ? q[i] * tile.a.scale : 0.0f;
  }
  if (shift != 0) rotate_back(tile, shift);
}

void widen(DType type, const uint8_t* from, int n, float* to) {
  if (type == DType::F32) {
    std::memcpy(to, from, static_cast<size_t>(n) * 4);
    return;
  }
  if (type == DType::Q8_0) {
    for (int i = 0; i < n; i += kKvBlock, from += kKvBlockBytes) {
      const Vf scale = splat(read_half(from));
      for (int j = 0; j < kKvBlock; j += kWidth) store(to + i + j, scale * load_int8(from + 2 + j));
    }
    return;
  }
  int i = 0;
  for (; i + kWidth <= n; i += kWidth) store(to + i, load_half(from + 2 * i));
  for (; i < n; ++i) to[i] = read_half(from + 2 * i);
}

// K and V of `n` keys from `key` on, all on one page, as floats.
void load_keys(const Tile& tile, int key, int n) {
  const KvView& kv = tile.a.kv;
  uint8_t* const* pages = reinterpret_cast<uint8_t* const*>(kv.page_table);
  const size_t row = kv_row_bytes(kv.type, kv.head_dim);
  const uint8_t* layer = pages[key / kPageTokens] + kv.layer_offset + static_cast<size_t>(key % kPageTokens) * row;
  widen(kv.type, layer + static_cast<size_t>(tile.kv_head) * kPageTokens * row, n * kv.head_dim, tile.keys);
  widen(kv.type, layer + static_cast<size_t>(kv.n_kv_heads + tile.kv_head) * kPageTokens * row, n * kv.head_dim,
        tile.values);
}

// cap * tanh(score / cap), from e^-2|x|, which cannot overflow.
inline Vf soften(Vf score, float cap) {
  const Vf x = score / cap, magnitude = x < 0.0f ? -x : x;
  const Vf e = exp_nonpositive(-2.0f * magnitude);
  const Vf tanh = (1.0f - e) / (1.0f + e);
  return cap * (x < 0.0f ? -tanh : tanh);
}

// Scores become weights relative to the new maximum; what was summed before is scaled to it.
void weigh(const Tile& tile, int n) {
  const int d = tile.a.kv.head_dim;
  for (int at = 0; at < tile.stride; at += kWidth) {
    const Vf low = load(tile.low + at), high = load(tile.high + at), old = load(tile.top + at);
    Vf top = old;
    for (int i = 0; i < n; ++i) {
      float* place = tile.scores + i * tile.stride + at;
      const Vf number = splat(static_cast<float>(i));
      Vf score = load(place);
      if (tile.a.soft_cap > 0) score = soften(score, tile.a.soft_cap);
      score = ((number >= low) & (number < high)) ? score : splat(kNothing);
      store(place, score);
      top = score > top ? score : top;
    }
    Vf sum = {};
    for (int i = 0; i < n; ++i) {
      float* place = tile.scores + i * tile.stride + at;
      const Vf score = load(place);
      const Vf weight = score > kNothing ? exp_nonpositive(score - top) : Vf{};
      store(place, weight);
      sum += weight;
    }
    const Vf keep = exp_nonpositive(old - top);
    store(tile.total + at, fma(load(tile.total + at), keep, sum));
    store(tile.top + at, top);
    for (int j = 0; j < d; ++j) store(tile.sums + j * tile.stride + at, load(tile.sums + j * tile.stride + at) * keep);
  }
}

// What each row sees of the `n` keys from `key` on. Returns whether any row sees any.
bool set_limits(const Tile& tile, const Span& span, int key, int n) {
  const int32_t* positions = reinterpret_cast<const int32_t*>(tile.a.positions);
  bool any = false;
  for (int row = 0; row < tile.stride; ++row) {
    const int token = tile.first + (row < tile.rows ? row / tile.heads : 0);
    int low = 0, high = n;
    if (span.causal != 0 && tile.a.first_key + token - key + 1 < n) high = tile.a.first_key + token - key + 1;
    if (tile.a.window > 0) low = positions[token] - tile.a.window + 1 - (span.position + key - span.key_begin);
    tile.low[row] = static_cast<float>(low > 0 ? low : 0);
    tile.high[row] = static_cast<float>(high);
    any = any || low < high;
  }
  return any;
}

// Tiles of keys end at page borders, so the same keys are always folded in the same pieces.
void attend_span(const Tile& tile, const Span& span) {
  const int end = span.key_begin + span.length, d = tile.a.kv.head_dim;
  for (int key = span.key_begin; key < end;) {
    const int page_end = (key / kPageTokens + 1) * kPageTokens;
    int n = (page_end < end ? page_end : end) - key;
    const int next = key + n, behind = tile.a.first_key + tile.last;  // behind what the last token sees
    if (span.causal != 0 && key >= behind) return;
    if (span.causal != 0 && behind - key < n) n = behind - key;
    if (set_limits(tile, span, key, n)) {
      load_keys(tile, key, n);
      product(tile.keys, d, n, 1, d, tile.queries, tile.scores, tile.stride, false);
      weigh(tile, n);
      product(tile.values, 1, d, d, n, tile.scores, tile.sums, tile.stride, true);
    }
    key = next;
  }
}

void write_out(const Tile& tile) {
  const int d = tile.a.kv.head_dim;
  for (int row = 0; row < tile.rows; ++row) {
    const int token = tile.first + row / tile.heads, head = tile.kv_head * tile.heads + row % tile.heads;
    float* out = reinterpret_cast<float*>(tile.a.out) + (int64_t{token} * tile.a.n_heads + head) * d;
    const float inverse = tile.total[row] > 0 ? 1.0f / tile.total[row] : 0.0f;
    for (int j = 0; j < d; ++j) out[j] = tile.sums[j * tile.stride + row] * inverse;
  }
}

Tile make_tile(const SpanAttentionArgs& a, int kv_head, int first, int last, float* scratch) {
  const int d = a.kv.head_dim, heads = a.n_heads / a.kv.n_kv_heads, rows = (last - first) * heads;
  const int stride = (rows + kWidth - 1) / kWidth * kWidth;
  Tile tile{a,       kv_head, first,   last,    heads,   rows,    stride,  scratch,
            nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  tile.sums = tile.queries + d * stride;
  tile.top = tile.sums + d * stride;
  tile.total = tile.top + stride;
  tile.low = tile.total + stride;
  tile.high = tile.low + stride;
  tile.scores = tile.high + stride;
  tile.keys = tile.scores + kPageTokens * stride;
  tile.values = tile.keys + kPageTokens * d;
  std::memset(tile.sums, 0, static_cast<size_t>(d * stride) * 4);
  std::memset(tile.total, 0, static_cast<size_t>(stride) * 4);
  for (int row = 0; row < stride; ++row) tile.top[row] = kNothing;
  return tile;
}

}  // namespace

void attend(const SpanAttentionArgs& a, int kv_head, int first, int last, float* scratch) {
  const Tile tile = make_tile(a, kv_head, first, last, scratch);
  const int32_t* group_begin = reinterpret_cast<const int32_t*>(a.group_begin);
  const Span* spans = reinterpret_cast<const Span*>(a.spans);
  const int group = kv_head / (a.kv.n_kv_heads / a.n_groups);
  for (int s = group_begin[group]; s < group_begin[group + 1]; ++s) {
    if (s == group_begin[group] || spans[s].rope_shift != spans[s - 1].rope_shift)
      load_queries(tile, spans[s].rope_shift);
    attend_span(tile, spans[s]);
  }
  write_out(tile);
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
