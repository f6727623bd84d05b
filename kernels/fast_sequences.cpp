// Attention within sequences, and what flows back through it. Compiled once per instruction set; see simd.h for what
// may not stand here. A block of queries has all its scores at once: sequences that one trains on are short.
#include "kernels/fast_training.h"
#include "kernels/simd.h"

namespace longleaf::kernels::LONGLEAF_ISA {
namespace {

inline float* floats(DevicePtr p) { return reinterpret_cast<float*>(p); }
inline DevicePtr device(const float* p) { return reinterpret_cast<DevicePtr>(const_cast<float*>(p)); }

// A block of queries of one head, and the keys that any of them sees.
struct Block {
  const SequenceAttention& a;
  int rows, keys;
  int last_seen;                     // by the first row, counted from the block's first key; the next row sees one more
  int64_t query_stride, key_stride;  // from row to row
  int64_t query, key, entry;         // where its rows begin in q, in k, and in norms

  int first_visible(int row) const {
    const int first = a.window > 0 ? last_seen + row + 1 - a.window : 0;
    return first > 0 ? first : 0;
  }
  int end_visible(int row) const { return last_seen + row + 1; }
};

Block block_of(const SequenceAttention& a, const Sequence& s, int head, int first, int last) {
  const int own = s.n_keys - s.n_queries + first;  // of the first query, in its sequence
  const int begin = a.window > 0 && own + 1 > a.window ? own + 1 - a.window : 0;
  const int end = s.n_keys - s.n_queries + last;
  const int64_t query_stride = int64_t{a.n_heads} * a.head_dim, key_stride = int64_t{a.n_kv_heads} * a.head_dim;
  const int kv_head = head / (a.n_heads / a.n_kv_heads);
  return {a,
          last - first,
          end - begin,
          own - begin,
          query_stride,
          key_stride,
          (s.query_begin + first) * query_stride + int64_t{head} * a.head_dim,
          (s.key_begin + begin) * key_stride + int64_t{kv_head} * a.head_dim,
          int64_t{s.query_begin + first} * a.n_heads + head};
}

// scores (rows, keys) = scale * left · rightᵀ, for rows of queries and of keys.
void scores_of(const Block& b, const float* left, const float* right, float scale, float* scores, float* scratch) {
  const GemmArgs g{{device(left), b.query_stride, 1},
                   {device(right), 1, b.key_stride},
                   device(scores),
                   b.keys,
                   b.rows,
                   b.keys,
                   b.a.head_dim,
                   scale,
                   false};
  gemm(g, 0, b.rows, 0, b.keys, scratch);
}

// out, rows of queries, = or += scores · rows of keys.
void mix(const Block& b, const float* scores, const float* right, float* out, bool add, float* scratch) {
  const GemmArgs g{{device(scores), b.keys, 1},
                   {device(right), b.key_stride, 1},
                   device(out),
                   b.query_stride,
                   b.rows,
                   b.a.head_dim,
                   b.keys,
                   1,
                   add};
  gemm(g, 0, b.rows, 0, b.a.head_dim, scratch);
}

// out, rows of keys, += scoresᵀ · rows of queries.
void spread(const Block& b, const float* scores, const float* left, float* out, float* scratch) {
  const GemmArgs g{{device(scores), 1, b.keys},
                   {device(left), b.query_stride, 1},
                   device(out),
                   b.key_stride,
                   b.keys,
                   b.a.head_dim,
                   b.rows,
                   1,
                   true};
  gemm(g, 0, b.keys, 0, b.a.head_dim, scratch);
}

inline Vf tanh_of(Vf x) {
  const Vf e = exp_nonpositive(-2.0f * (x < 0.0f ? -x : x));
  const Vf t = (1.0f - e) / (1.0f + e);
  return x < 0.0f ? -t : t;
}

// Calls visit(p + i, n) for vectors of n <= kWidth numbers from `first` to `end`.
template <typename Visit>
inline void for_vectors(int first, int end, const Visit& visit) {
  for (int i = first; i < end; i += kWidth) visit(i, end - i < kWidth ? end - i : kWidth);
}
inline Vf load_some(const float* p, int n, float rest) {
  if (n == kWidth) return load(p);
  Vf v = splat(rest);
  std::memcpy(&v, p, static_cast<size_t>(n) * 4);
  return v;
}
inline void store_some(float* p, Vf v, int n) { std::memcpy(p, &v, static_cast<size_t>(n) * 4); }

constexpr float kNothing = -1e30f;  // below any score

void cap(const SequenceAttention& a, float* scores, int first, int end) {
  if (a.soft_cap <= 0) return;
  for_vectors(first, end, [&](int i, int n) {
    store_some(scores + i, a.soft_cap * tanh_of(load_some(scores + i, n, 0) / a.soft_cap), n);
  });
}

// scores → their softmax over the keys that the row sees; returns the log of the sum of exponentials.
float normalize(float* scores, int first, int end) {
  Vf tops = splat(kNothing), totals = {};
  for_vectors(first, end, [&](int i, int n) {
    const Vf x = load_some(scores + i, n, kNothing);
    tops = x > tops ? x : tops;
  });
  const float top = largest_lane(tops);
  for_vectors(first, end, [&](int i, int n) {
    const Vf e = exp_nonpositive(load_some(scores + i, n, kNothing) - top);
    totals += e;
    store_some(scores + i, e, n);
  });
  const float total = horizontal_sum(totals), inverse = 1.0f / total;
  for_vectors(first, end, [&](int i, int n) { store_some(scores + i, load_some(scores + i, n, 0) * inverse, n); });
  return top + __builtin_logf(total);
}

inline void clear(float* scores, int first, int end) {
  if (end > first) std::memset(scores + first, 0, static_cast<size_t>(end - first) * 4);
}

float dot(const float* a, const float* b, int n) {
  Vf sum = {};
  for_vectors(0, n, [&](int i, int some) { sum = fma(load_some(a + i, some, 0), load_some(b + i, some, 0), sum); });
  return horizontal_sum(sum);
}

// One row: scores → softmax p; shares (dout · vᵀ) → what flows back to scale * <q, k>.
void row_back(const SequenceAttention& a, float norm, float along, float* scores, float* shares, int first, int end) {
  cap(a, scores, first, end);
  for_vectors(first, end, [&](int i, int n) {
    const Vf z = load_some(scores + i, n, kNothing), low = z - norm;
    const Vf p = exp_nonpositive(low < 0.0f ? low : Vf{});  // rounding may lift a score above its norm
    Vf back = p * (load_some(shares + i, n, 0) - along) * a.scale;
    if (a.soft_cap > 0) {
      const Vf bent = z / a.soft_cap;
      back *= 1.0f - bent * bent;
    }
    store_some(scores + i, p, n);
    store_some(shares + i, back, n);
  });
}

void block_back(const SequenceAttentionBack& args, const Block& b, float* scratch) {
  const SequenceAttention& a = args.of;
  float* scores = scratch + kGemmScratch;
  float* shares = scores + int64_t{kAttendRows} * b.keys;
  const float *q = floats(a.q) + b.query, *dout = floats(args.dout) + b.query, *out = floats(a.out) + b.query;
  scores_of(b, q, floats(a.k) + b.key, a.scale, scores, scratch);
  scores_of(b, dout, floats(a.v) + b.key, 1, shares, scratch);
  for (int row = 0; row < b.rows; ++row) {
    float *s = scores + int64_t{row} * b.keys, *d = shares + int64_t{row} * b.keys;
    const int first = b.first_visible(row), end = b.end_visible(row);
    const float along = dot(dout + row * b.query_stride, out + row * b.query_stride, a.head_dim);
    row_back(a, floats(a.norms)[b.entry + int64_t{row} * a.n_heads], along, s, d, first, end);
    clear(s, 0, first), clear(s, end, b.keys);
    clear(d, 0, first), clear(d, end, b.keys);
  }
  mix(b, shares, floats(a.k) + b.key, floats(args.dq) + b.query, true, scratch);
  spread(b, shares, q, floats(args.dk) + b.key, scratch);
  spread(b, scores, dout, floats(args.dv) + b.key, scratch);
}

}  // namespace

void attend_sequence(const SequenceAttention& a, const Sequence& sequence, int head, int first, int last,
                     float* scratch) {
  const Block b = block_of(a, sequence, head, first, last);
  float* scores = scratch + kGemmScratch;
  scores_of(b, floats(a.q) + b.query, floats(a.k) + b.key, a.scale, scores, scratch);
  for (int row = 0; row < b.rows; ++row) {
    float* s = scores + int64_t{row} * b.keys;
    const int begin = b.first_visible(row), end = b.end_visible(row);
    cap(a, s, begin, end);
    floats(a.norms)[b.entry + int64_t{row} * a.n_heads] = normalize(s, begin, end);
    clear(s, 0, begin), clear(s, end, b.keys);
  }
  mix(b, scores, floats(a.v) + b.key, floats(a.out) + b.query, false, scratch);
}

void attend_sequence_back(const SequenceAttentionBack& args, const Sequence& sequence, int kv_head, float* scratch) {
  const int heads = args.of.n_heads / args.of.n_kv_heads;
  for (int head = kv_head * heads; head < (kv_head + 1) * heads; ++head)
    for (int first = 0; first < sequence.n_queries; first += kAttendRows) {
      const int rest = sequence.n_queries - first;
      block_back(args, block_of(args.of, sequence, head, first, first + (rest < kAttendRows ? rest : kAttendRows)),
                 scratch);
    }
}

}  // namespace longleaf::kernels::LONGLEAF_ISA
