// Span attention of many tokens (prefill) over a store of halves or of 8 bits, on tensor cores. See span_attention.h.
// Queries, turned for a span, and weights are rounded to halves; sums are f32. Tiles and their order as in
// FlashAttention-2 (Dao, arXiv 2307.08691). A block of threads serves 64 query rows of one KV head: row r is token r /
// G and head r % G of the G heads that share the KV head.
#include "kernels/cuda/args.h"
#include "kernels/cuda/attention_tiles.h"
#include "kernels/cuda/kv.cuh"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/rotary.cuh"
#include "kernels/cuda/tiles.cuh"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

constexpr int kThreads = kAttentionThreads;  // 4 warps of 16 rows
constexpr int kTileRows = kQueryRows, kKeys = kTileKeys;
constexpr int kKeyTiles = kKeys / 8;
constexpr float kMinusInfinity = -__builtin_huge_valf();

__device__ inline int own_thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int least(int a, int b) { return a < b ? a : b; }

template <int kDim>
constexpr int kRowHalves = row_halves(kDim);

// The query rows of this block.
struct Rows {
  int kv_head, group, first, last;  // rows [first, last) of n_tokens * group
  __device__ int token(int row) const { return (first + row) / group; }
  __device__ int head(int row) const { return kv_head * group + (first + row) % group; }
  __device__ int count() const { return last - first; }
};

// Queries of the block as halves, turned back by `shift`; rows that are not there are zero.
template <int kDim>
__device__ inline void load_queries(const AttentionArgs& a, const Rows& rows, int shift, uint16_t* q) {
  const int d = a.kv.head_dim;
  for (int i = own_thread(); i < kTileRows * kDim; i += kThreads) {
    const int row = i / kDim, c = i % kDim;
    float x = 0;
    if (row < rows.count() && c < d) {
      const float* head = a.q + (int64_t{rows.token(row)} * a.n_heads + rows.head(row)) * d;
      x = head[c];
      if (shift != 0 && c < 2 * a.pairs) {
        const int index = a.style == RopeStyle::Adjacent ? c / 2 : c % a.pairs;
        const Pair p = pair_of(index, a.pairs, a.style);
        const Turn turn = turn_of(-shift, a.inv_freq[index]);
        const float first = head[p.first], second = head[p.second];
        x = c == p.first ? first_of(first, second, turn) : second_of(first, second, turn);
      }
    }
    q[row * kRowHalves<kDim> + c] = to_finite_half(x);
  }
}

// Eight neighbouring numbers of a Q8_0 row as halves, from number c on.
__device__ inline uint4 unpacked(const uint8_t* row, int c) {
  const auto* block = reinterpret_cast<const uint16_t*>(row + c / kKvBlock * kKvBlockBytes);
  const float scale = from_half(block[0]);
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const auto both = static_cast<int16_t>(block[1 + c % kKvBlock / 2 + i]);
    words[i] = pair(to_finite_half(scale * static_cast<float>(static_cast<int8_t>(both))),
                    to_finite_half(scale * static_cast<float>(both >> 8)));
  }
  return {words[0], words[1], words[2], words[3]};
}

// Begins to copy keys or values [key, key + n) of one page; the other rows of the tile become zero.
template <int kDim>
__device__ inline void begin_tile(const AttentionArgs& a, int kv_head, int key, int n, bool value, uint16_t* tile) {
  constexpr int kCells = kDim / 8;  // of 16 bytes
  const int d = a.kv.head_dim;
  const uint8_t* from = kv_row(a.kv, key, kv_head, value);
  const size_t row_bytes = kv_row_bytes(a.kv.type, d);
  for (int i = own_thread(); i < kKeys * kCells; i += kThreads) {
    const int row = i / kCells, c = i % kCells * 8;
    uint16_t* to = tile + row * kRowHalves<kDim> + c;
    if (row >= n || c >= d)
      *reinterpret_cast<uint4*>(to) = uint4{0, 0, 0, 0};
    else if (a.kv.type == DType::Q8_0)
      *reinterpret_cast<uint4*>(to) = unpacked(from + row * row_bytes, c);
    else
      copy_ahead<16>(to, from + row * row_bytes + 2 * c);
  }
}

// What a warp knows of its 16 rows: of two rows per lane, g and g + 8.
template <int kDim>
struct State {
  float sums[kDim / 8][4] = {};
  float top[2] = {kMinusInfinity, kMinusInfinity}, total[2] = {0, 0};
};

using Scores = float[kKeyTiles][4];

// 16 rows of queries times 64 keys.
template <int kDim>
__device__ inline void score_tile(const uint16_t* q, const uint16_t* keys, Scores& scores) {
  const int lane = own_thread() % kWarpThreads, row = own_thread() / kWarpThreads * 16;
#pragma unroll
  for (int c = 0; c < kDim; c += 16) {
    uint32_t queries[4];
    load_matrices(queries, q + (row + lane % 16) * kRowHalves<kDim> + c + lane / 16 * 8);
#pragma unroll
    for (int j = 0; j < kKeyTiles; j += 2) {
      uint32_t k[4];
      load_matrices(k, keys + (8 * j + lane / 16 * 8 + lane % 8) * kRowHalves<kDim> + c + lane / 8 % 2 * 8);
      const uint32_t first[2] = {k[0], k[1]}, second[2] = {k[2], k[3]};
      multiply_halves(scores[j], queries, first);
      multiply_halves(scores[j + 1], queries, second);
    }
  }
}

// Scales the scores and hides what a row does not see. `key`: index of the tile's first; n: its keys.
__device__ inline void mask_tile(const AttentionArgs& a, const Rows& rows, const Span& span, int key, int n,
                                 Scores& scores) {
  const int lane = own_thread() % kWarpThreads, warp_row = own_thread() / kWarpThreads * 16;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + lane / 4 + 8 * half;
    const int token = row < rows.count() ? rows.token(row) : 0;
    const int last = span.causal != 0 ? least(n, a.first_key + token + 1 - key) : n;  // keys below it are seen
    int first = 0;
    if (a.window > 0) first = a.positions[token] - a.window + 1 - (span.position + key - span.key_begin);
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int k = 8 * j + 2 * (lane % 4) + i;
        float& score = scores[j][2 * half + i];
        score *= a.scale;
        if (a.soft_cap > 0) score = a.soft_cap * tanhf(score / a.soft_cap);
        if (k >= last || k < first || row >= rows.count()) score = kMinusInfinity;
      }
    }
  }
}

__device__ inline float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, 1));
  return fmaxf(x, __shfl_xor_sync(kAllLanes, x, 2));
}

__device__ inline float quad_sum(float x) {
  x += __shfl_xor_sync(kAllLanes, x, 1);
  return x + __shfl_xor_sync(kAllLanes, x, 2);
}

// Scores to weights, and what was summed before to the new greatest score.
template <int kDim>
__device__ inline void weigh_tile(Scores& scores, State<kDim>& state) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float top = state.top[half];
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) top = fmaxf(top, fmaxf(scores[j][2 * half], scores[j][2 * half + 1]));
    top = quad_max(top);
    const float base = top > kMinusInfinity ? top : 0.0f;
    const float fade = state.top[half] > kMinusInfinity ? expf(state.top[half] - base) : 0.0f;
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kKeyTiles; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& score = scores[j][2 * half + i];
        score = expf(score - base);
        sum += score;
      }
    }
    state.top[half] = top;
    state.total[half] = state.total[half] * fade + quad_sum(sum);
#pragma unroll
    for (int c = 0; c < kDim / 8; ++c) {
      state.sums[c][2 * half] *= fade;
      state.sums[c][2 * half + 1] *= fade;
    }
  }
}

// Adds weights times values. The weights lie as a product left them, which is how the next one takes them.
template <int kDim>
__device__ inline void add_values(const Scores& weights, const uint16_t* values, State<kDim>& state) {
  const int lane = own_thread() % kWarpThreads;
#pragma unroll
  for (int j = 0; j < kKeyTiles; j += 2) {
    uint32_t w[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float* two = weights[j + i / 2] + 2 * (i % 2);
      w[i] = pair(to_half(two[0]), to_half(two[1]));
    }
#pragma unroll
    for (int c = 0; c < kDim / 8; c += 2) {
      uint32_t v[4];
      load_transposed(v, values + (8 * j + lane % 16) * kRowHalves<kDim> + 8 * c + lane / 16 * 8);
      const uint32_t first[2] = {v[0], v[1]}, second[2] = {v[2], v[3]};
      multiply_halves(state.sums[c], w, first);
      multiply_halves(state.sums[c + 1], w, second);
    }
  }
}

template <int kDim>
__device__ inline void write_rows(const AttentionArgs& a, const Rows& rows, const State<kDim>& state) {
  const int lane = own_thread() % kWarpThreads, warp_row = own_thread() / kWarpThreads * 16;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = warp_row + lane / 4 + 8 * half;
    if (row >= rows.count()) continue;
    float* out = a.out + (int64_t{rows.token(row)} * a.n_heads + rows.head(row)) * a.kv.head_dim;
    const float total = state.total[half];
#pragma unroll
    for (int c = 0; c < kDim / 8; ++c) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int column = 8 * c + 2 * (lane % 4) + i;
        if (column < a.kv.head_dim) out[column] = total == 0 ? 0.0f : state.sums[c][2 * half + i] / total;
      }
    }
  }
}

template <int kDim>
__device__ inline void attend(const AttentionArgs& a) {
  const int group = a.n_heads / a.kv.n_kv_heads, kv_head = static_cast<int>(blockIdx.x);
  const int first_row = static_cast<int>(blockIdx.y) * kTileRows;
  const Rows rows{kv_head, group, first_row, least(first_row + kTileRows, a.n_tokens * group)};
  const int last_key = a.first_key + rows.token(rows.count() - 1);  // that the last row sees of a causal span
  auto* q = reinterpret_cast<uint16_t*>(shared_bytes());
  uint16_t* keys = q + kTileRows * kRowHalves<kDim>;
  uint16_t* values = keys + kKeys * kRowHalves<kDim>;
  State<kDim> state;
  const int head_group = kv_head / (a.kv.n_kv_heads / a.n_groups);
  int turned_for = 0;
  bool is_turned = false;
  for (int i = a.group_begin[head_group]; i < a.group_begin[head_group + 1]; ++i) {
    const Span span = a.spans[i];
    int end = span.key_begin + span.length;
    if (span.causal != 0) end = least(end, last_key + 1);
    for (int key = span.key_begin, n = 0; key < end; key += n) {
      n = least(kPageTokens - key % kPageTokens, end - key);
      __syncthreads();  // the last tile is done with
      begin_tile<kDim>(a, kv_head, key, n, false, keys);
      end_of_group();
      begin_tile<kDim>(a, kv_head, key, n, true, values);
      end_of_group();
      if (!is_turned || turned_for != span.rope_shift) load_queries<kDim>(a, rows, span.rope_shift, q);
      turned_for = span.rope_shift;
      is_turned = true;
      wait_for_copies<1>();
      __syncthreads();
      Scores scores = {};
      score_tile<kDim>(q, keys, scores);
      mask_tile(a, rows, span, key, n, scores);
      weigh_tile<kDim>(scores, state);
      wait_for_copies<0>();
      __syncthreads();
      add_values<kDim>(scores, values, state);
    }
  }
  write_rows<kDim>(a, rows, state);
}

}  // namespace

// For heads of up to 64, 128 and 256 numbers, a multiple of 8.
// Grid: (kv heads, rows / 64). Block: 128. Shared: attend_tiles_shared_bytes.
extern "C" __global__ void __launch_bounds__(128, 3) attend_tiles_64(const AttentionArgs a) { attend<64>(placed(a)); }
extern "C" __global__ void __launch_bounds__(128, 2) attend_tiles_128(const AttentionArgs a) { attend<128>(placed(a)); }
extern "C" __global__ void __launch_bounds__(128, 1) attend_tiles_256(const AttentionArgs a) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800  // Turing has not the shared memory for it, and nothing launches it
  attend<256>(placed(a));
#endif
}
