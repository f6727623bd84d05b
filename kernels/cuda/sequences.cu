// Attention within sequences and what flows back through it, in f32: see kernels/training.h. Tiles and the sums that
// are kept instead of all scores: Tri Dao, FlashAttention-2, arXiv 2307.08691, section 3. What flows to queries and
// what flows to keys are kernels of their own, so that every number is summed in one order; scores are computed again
// for each.
#include "kernels/cuda/args.h"
#include "kernels/cuda/sequence_tiles.h"
#include "kernels/cuda/tiles.cuh"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

constexpr int kKeys = kSequenceKeys, kScoreRow = sequence_row(kKeys);

__device__ inline int own_lane() { return static_cast<int>(threadIdx.x) % kWarpThreads; }
__device__ inline int own_warp() { return static_cast<int>(threadIdx.x) / kWarpThreads; }
// Column j of those that a lane sums.
__device__ inline int own_column(int j) { return own_lane() + kWarpThreads * j; }
__device__ inline int at_least(int x, int least) { return x > least ? x : least; }
__device__ inline int at_most(int x, int most) { return x < most ? x : most; }

// Shared memory of a block.
template <int kDim>
struct Tiles {
  static constexpr int kQueries = sequence_queries(kDim), kRow = sequence_row(kDim);
  float *keys, *values;    // (kKeys, kRow)
  float *queries, *flows;  // (kQueries, kRow): q, and dout
  float *weights, *backs;  // (kQueries, kScoreRow): softmax, and what flows back to scale * <q, k>

  // With one tile of what queries have, or two.
  explicit __device__ Tiles(int query_rows) {
    keys = reinterpret_cast<float*>(shared_bytes());
    values = keys + kKeys * kRow;
    queries = values + kKeys * kRow;
    flows = queries + kQueries * kRow;
    weights = queries + query_rows * kQueries * kRow;
    backs = weights + kQueries * kScoreRow;
  }
};

// Copies `n` of at most kRows rows of head_dim numbers; zeros behind them and beside them.
template <int kDim, int kRows>
__device__ inline void load_rows(const float* from, int64_t stride, int n, int head_dim, float* to) {
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kDim; i += kSequenceThreads) {
    const int row = i / kDim, c = i % kDim;
    to[row * sequence_row(kDim) + c] = row < n && c < head_dim ? from[row * stride + c] : 0.0f;
  }
}

// Rows of the tensors, in numbers.
__device__ inline int64_t query_stride(const SequencesArgs& a) { return int64_t{a.n_heads} * a.head_dim; }
__device__ inline int64_t key_stride(const SequencesArgs& a) { return int64_t{a.n_kv_heads} * a.head_dim; }
__device__ inline int64_t query_at(const SequencesArgs& a, const Sequence& s, int query, int head) {
  return ((int64_t{s.query_begin} + query) * a.n_heads + head) * a.head_dim;
}
__device__ inline int64_t key_at(const SequencesArgs& a, const Sequence& s, int key, int head) {
  return ((int64_t{s.key_begin} + key) * a.n_kv_heads + head) * a.head_dim;
}

// Whether a query of a sequence sees a key of it.
__device__ inline bool sees(const SequencesArgs& a, const Sequence& s, int query, int key) {
  const int own = s.n_keys - s.n_queries + query;
  return query < s.n_queries && key <= own && (a.window == 0 || key > own - a.window);
}

// <rows of the own warp, the own lane's key>, from tiles.
template <int kDim>
__device__ inline void dots(const float* rows, const float* keys, int head_dim, float (&out)[queries_per_warp(kDim)]) {
  constexpr int kPerWarp = queries_per_warp(kDim), kRow = sequence_row(kDim);
  const float* own = rows + own_warp() * kPerWarp * kRow;
  const float* key = keys + own_lane() * kRow;
#pragma unroll
  for (int i = 0; i < kPerWarp; ++i) out[i] = 0;
  for (int c = 0; c < head_dim; ++c) {
    const float k = key[c];
#pragma unroll
    for (int i = 0; i < kPerWarp; ++i) out[i] = fmaf(own[i * kRow + c], k, out[i]);
  }
}

// scale * <q, k>, capped, and its slope.
struct Score {
  float value, slope;
};
__device__ inline Score score_of(const SequencesArgs& a, float dot) {
  const float raw = a.scale * dot;
  if (a.soft_cap <= 0) return {raw, 1};
  const float bent = tanhf(raw / a.soft_cap);
  return {a.soft_cap * bent, 1 - bent * bent};
}

// sums[i][j] += the rows' weights times a tile of keys or values: rows of the own warp, the own columns.
template <int kDim, int kPerWarp, int kCols>
__device__ inline void mix(const float* weights, const float* tile, float (&sums)[kPerWarp][kCols]) {
  const float* own = weights + own_warp() * kPerWarp * kScoreRow;
  for (int key = 0; key < kKeys; ++key) {
#pragma unroll
    for (int j = 0; j < kCols; ++j) {
      const float x = tile[key * sequence_row(kDim) + own_column(j)];
#pragma unroll
      for (int i = 0; i < kPerWarp; ++i) sums[i][j] = fmaf(own[i * kScoreRow + key], x, sums[i][j]);
    }
  }
}

// The keys that queries of a tile see.
struct Range {
  int first, end;
};
__device__ inline Range keys_seen(const SequencesArgs& a, const SequenceTile& t, int n_queries) {
  const int before = t.of.n_keys - t.of.n_queries;
  const int last = at_most(t.first + n_queries, t.of.n_queries) - 1;
  return {a.window > 0 ? at_least(before + t.first + 1 - a.window, 0) : 0, before + last + 1};
}

template <int kDim>
__device__ inline void load_keys(const SequencesArgs& a, const Sequence& s, int key, int end, int head,
                                 const Tiles<kDim>& tiles) {
  const int64_t at = key_at(a, s, key, head);
  load_rows<kDim, kKeys>(a.k + at, key_stride(a), end - key, a.head_dim, tiles.keys);
  load_rows<kDim, kKeys>(a.v + at, key_stride(a), end - key, a.head_dim, tiles.values);
}

template <int kDim>
__device__ inline void attend(const SequencesArgs& a) {
  constexpr int kPerWarp = queries_per_warp(kDim), kCols = kDim / kWarpThreads;
  const Tiles<kDim> tiles(1);
  const SequenceTile t = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (a.n_heads / a.n_kv_heads);
  const int first_query = t.first + own_warp() * kPerWarp;
  load_rows<kDim, Tiles<kDim>::kQueries>(a.q + query_at(a, t.of, t.first, head), query_stride(a),
                                         t.of.n_queries - t.first, a.head_dim, tiles.queries);
  float top[kPerWarp], total[kPerWarp], sums[kPerWarp][kCols] = {};
#pragma unroll
  for (int i = 0; i < kPerWarp; ++i) top[i] = -INFINITY, total[i] = 0;
  const Range keys = keys_seen(a, t, Tiles<kDim>::kQueries);
  for (int key = keys.first; key < keys.end; key += kKeys) {
    __syncthreads();  // all are done with the keys before
    load_keys(a, t.of, key, keys.end, kv_head, tiles);
    __syncthreads();
    float scores[kPerWarp];
    dots<kDim>(tiles.queries, tiles.keys, a.head_dim, scores);
#pragma unroll
    for (int i = 0; i < kPerWarp; ++i) {
      const bool seen = sees(a, t.of, first_query + i, key + own_lane());
      const float z = seen ? score_of(a, scores[i]).value : -INFINITY;
      const float greatest = fmaxf(top[i], warp_max(z));
      // A row that has seen no key yet has nothing to fade.
      const float fade = top[i] == greatest ? 1.0f : expf(top[i] - greatest);
      const float weight = seen ? expf(z - greatest) : 0.0f;
      total[i] = total[i] * fade + warp_sum(weight);
      top[i] = greatest;
#pragma unroll
      for (int j = 0; j < kCols; ++j) sums[i][j] *= fade;
      tiles.weights[(own_warp() * kPerWarp + i) * kScoreRow + own_lane()] = weight;
    }
    __syncwarp();
    mix<kDim>(tiles.weights, tiles.values, sums);
  }
#pragma unroll
  for (int i = 0; i < kPerWarp; ++i) {
    if (first_query + i >= t.of.n_queries) continue;
    const int64_t at = query_at(a, t.of, first_query + i, head);
#pragma unroll
    for (int j = 0; j < kCols; ++j)
      if (own_column(j) < a.head_dim) a.out[at + own_column(j)] = sums[i][j] / total[i];
    if (own_lane() == 0) a.norms[at / a.head_dim] = top[i] + logf(total[i]);
  }
}

// Softmax and what flows back to scale * <q, k>, of the own warp's queries and the own lane's key, into their tiles.
template <int kDim>
__device__ inline void weigh_back(const SequencesArgs& a, const Sequence& s, int first_query, int key, int head,
                                  const Tiles<kDim>& tiles) {
  constexpr int kPerWarp = queries_per_warp(kDim);
  float scores[kPerWarp], flows[kPerWarp];
  dots<kDim>(tiles.queries, tiles.keys, a.head_dim, scores);
  dots<kDim>(tiles.flows, tiles.values, a.head_dim, flows);
#pragma unroll
  for (int i = 0; i < kPerWarp; ++i) {
    const int row = own_warp() * kPerWarp + i, query = first_query + row;
    float weight = 0, back = 0;
    if (sees(a, s, query, key)) {
      const int64_t entry = query_at(a, s, query, head) / a.head_dim;
      const Score score = score_of(a, scores[i]);
      const float below = score.value - a.norms[entry];
      weight = expf(below > 0 ? 0.0f : below);  // rounding may lift a score above its norm
      back = weight * (flows[i] - a.along[entry]) * score.slope * a.scale;
    }
    tiles.weights[row * kScoreRow + own_lane()] = weight;
    tiles.backs[row * kScoreRow + own_lane()] = back;
  }
}

// What the queries of a tile are compared with: q and dout.
template <int kDim>
__device__ inline void load_queries(const SequencesArgs& a, const Sequence& s, int query, int head,
                                    const Tiles<kDim>& tiles) {
  constexpr int kQueries = Tiles<kDim>::kQueries;
  const int64_t at = query_at(a, s, query, head);
  load_rows<kDim, kQueries>(a.q + at, query_stride(a), s.n_queries - query, a.head_dim, tiles.queries);
  load_rows<kDim, kQueries>(a.dout + at, query_stride(a), s.n_queries - query, a.head_dim, tiles.flows);
}

// dq; and `along` for sequence_keys_back.
template <int kDim>
__device__ inline void queries_back(const SequencesArgs& a) {
  constexpr int kPerWarp = queries_per_warp(kDim), kCols = kDim / kWarpThreads;
  const Tiles<kDim> tiles(2);
  const SequenceTile t = a.tiles[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (a.n_heads / a.n_kv_heads);
  const int first_query = t.first + own_warp() * kPerWarp;
  load_queries(a, t.of, t.first, head, tiles);
  for (int i = 0; i < kPerWarp; ++i) {
    const bool is_there = first_query + i < t.of.n_queries;
    const int64_t at = query_at(a, t.of, is_there ? first_query + i : t.first, head);
    float along = 0;
    for (int c = own_lane(); c < a.head_dim; c += kWarpThreads) along += a.dout[at + c] * a.out[at + c];
    along = warp_sum(along);
    if (own_lane() == 0 && is_there) a.along[at / a.head_dim] = along;
  }
  float sums[kPerWarp][kCols] = {};
  const Range keys = keys_seen(a, t, Tiles<kDim>::kQueries);
  for (int key = keys.first; key < keys.end; key += kKeys) {
    __syncthreads();  // all are done with the keys before
    load_keys(a, t.of, key, keys.end, kv_head, tiles);
    __syncthreads();
    weigh_back(a, t.of, t.first, key + own_lane(), head, tiles);
    __syncwarp();
    mix<kDim>(tiles.backs, tiles.keys, sums);
  }
#pragma unroll
  for (int i = 0; i < kPerWarp; ++i) {
    if (first_query + i >= t.of.n_queries) continue;
    const int64_t at = query_at(a, t.of, first_query + i, head);
#pragma unroll
    for (int j = 0; j < kCols; ++j)
      if (own_column(j) < a.head_dim) a.dq[at + own_column(j)] += sums[i][j];
  }
}

// dk and dv of the keys of a tile, from all queries of all heads that see them. A warp sums eight keys.
template <int kDim>
__device__ inline void keys_back(const SequencesArgs& a) {
  constexpr int kCols = kDim / kWarpThreads, kOwnKeys = kKeys / kSequenceWarps, kQueries = Tiles<kDim>::kQueries;
  const Tiles<kDim> tiles(2);
  const SequenceTile t = a.tiles[blockIdx.x];
  const Sequence& s = t.of;
  const int group = a.n_heads / a.n_kv_heads, kv_head = static_cast<int>(blockIdx.y);
  const int before = s.n_keys - s.n_queries, own_keys = own_warp() * kOwnKeys;
  load_keys(a, s, t.first, s.n_keys, kv_head, tiles);
  const int first = at_least(t.first - before, 0);
  const int end = a.window > 0 ? at_most(t.first + kKeys - 1 + a.window - before, s.n_queries) : s.n_queries;
  float dk[kOwnKeys][kCols] = {}, dv[kOwnKeys][kCols] = {};
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (int query = first; query < end; query += kQueries) {
      __syncthreads();  // all are done with the queries before
      load_queries(a, s, query, head, tiles);
      __syncthreads();
      weigh_back(a, s, query, t.first + own_lane(), head, tiles);
      __syncthreads();
      for (int row = 0; row < at_most(kQueries, end - query); ++row) {
#pragma unroll
        for (int j = 0; j < kCols; ++j) {
          const int at = row * sequence_row(kDim) + own_column(j);
          const float q = tiles.queries[at], flow = tiles.flows[at];
#pragma unroll
          for (int i = 0; i < kOwnKeys; ++i) {
            dk[i][j] = fmaf(tiles.backs[row * kScoreRow + own_keys + i], q, dk[i][j]);
            dv[i][j] = fmaf(tiles.weights[row * kScoreRow + own_keys + i], flow, dv[i][j]);
          }
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kOwnKeys; ++i) {
    const int key = t.first + own_keys + i;
    const int64_t at = key_at(a, s, key, kv_head);
#pragma unroll
    for (int j = 0; j < kCols; ++j) {
      const int c = own_column(j);
      if (key >= s.n_keys || c >= a.head_dim) continue;
      a.dk[at + c] += dk[i][j];
      a.dv[at + c] += dv[i][j];
    }
  }
}

}  // namespace

// Each for heads of up to so many numbers. Block: kSequenceThreads.
//   attend_sequences, sequence_queries_back  grid (tiles of queries, heads)
//   sequence_keys_back                       grid (tiles of keys, KV heads), behind sequence_queries_back
#define SEQUENCES(dim)                                                                                      \
  extern "C" __global__ void __launch_bounds__(128, 1) attend_sequences_##dim(const SequencesArgs a) {      \
    attend<dim>(a);                                                                                         \
  }                                                                                                         \
  extern "C" __global__ void __launch_bounds__(128, 1) sequence_queries_back_##dim(const SequencesArgs a) { \
    queries_back<dim>(a);                                                                                   \
  }                                                                                                         \
  extern "C" __global__ void __launch_bounds__(128, 1) sequence_keys_back_##dim(const SequencesArgs a) {    \
    keys_back<dim>(a);                                                                                      \
  }
SEQUENCES(64)
SEQUENCES(128)
SEQUENCES(256)
