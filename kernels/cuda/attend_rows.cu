// Span attention of a few tokens (decode), in f32: bound by reading keys and values, each once per group of heads.
// See span_attention.h. The keys that a token sees are split over blocks of threads, the same way whatever other tokens
// there are; a second kernel joins the parts. Split and joined as in Flash-Decoding (Dao et al., 2023).
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

constexpr int kThreads = kAttentionThreads, kChunk = kKeyChunk;
constexpr float kMinusInfinity = -__builtin_huge_valf();

__device__ inline int own_thread() { return static_cast<int>(threadIdx.x); }

// Shared memory of a block that serves `group` heads; see attend_rows_shared_bytes.
struct Scratch {
  float *q, *turned, *sums;   // (group, head_dim): the query, the query turned for a span, the weighted values
  float* weights;             // (group, kChunk): scores, then their exponentials
  float *top, *total, *fade;  // (group): greatest score yet, sum of exponentials, what a new greatest score leaves
};

__device__ inline Scratch scratch_of(int group, int head_dim) {
  auto* floats = reinterpret_cast<float*>(shared_bytes());
  const int heads = group * head_dim;
  float* weights = floats + 3 * heads;
  float* top = weights + group * kChunk;
  return {floats, floats + heads, floats + 2 * heads, weights, top, top + group, top + 2 * group};
}

// Keys of the span that a query sees whose own key has this index.
__device__ inline int visible(const Span& span, int own_key) {
  if (span.causal == 0) return span.length;
  const int upto = own_key + 1 - span.key_begin;
  return upto < 0 ? 0 : upto < span.length ? upto : span.length;
}

__device__ inline void turn_query(const AttentionArgs& a, const Scratch& s, int group, int shift) {
  const int d = a.kv.head_dim;
  for (int i = own_thread(); i < group * d; i += kThreads) s.turned[i] = s.q[i];
  __syncthreads();
  if (shift == 0) return;
  for (int i = own_thread(); i < group * a.pairs; i += kThreads) {
    const Turn turn = turn_of(-shift, a.inv_freq[i % a.pairs]);
    const Pair p = pair_of(i % a.pairs, a.pairs, a.style);
    float* head = s.turned + i / a.pairs * d;
    const float first = head[p.first], second = head[p.second];
    head[p.first] = first_of(first, second, turn);
    head[p.second] = second_of(first, second, turn);
  }
  __syncthreads();
}

__device__ inline float dot_key(const float* q, const uint8_t* key, DType type, int head_dim) {
  float sum = 0;
  if (type == DType::Q8_0) {
    for (int b = 0; b < head_dim / kKvBlock; ++b) {
      const auto* block = reinterpret_cast<const uint16_t*>(key + b * kKvBlockBytes);
      float part = 0;
      for (int i = 0; i < kKvBlock / 2; ++i) {
        const auto both = static_cast<int16_t>(block[1 + i]);
        part += q[b * kKvBlock + 2 * i] * static_cast<float>(static_cast<int8_t>(both));
        part += q[b * kKvBlock + 2 * i + 1] * static_cast<float>(both >> 8);
      }
      sum += from_half(block[0]) * part;
    }
  } else if (type == DType::F32) {
    const auto* k = reinterpret_cast<const float*>(key);
    for (int i = 0; i < head_dim; ++i) sum += q[i] * k[i];
  } else if (head_dim % 2 != 0) {  // rows are not aligned to words
    const auto* k = reinterpret_cast<const uint16_t*>(key);
    for (int i = 0; i < head_dim; ++i) sum += q[i] * from_half(k[i]);
  } else {
    const auto* k = reinterpret_cast<const uint32_t*>(key);
    for (int i = 0; i < head_dim / 2; ++i) {
      const uint32_t both = k[i];
      sum += q[2 * i] * from_half(static_cast<uint16_t>(both));
      sum += q[2 * i + 1] * from_half(static_cast<uint16_t>(both >> 16));
    }
  }
  return sum;
}

// Scores of keys [key, key + n), n at most kChunk, of one span.
__device__ inline void score_chunk(const AttentionArgs& a, const Scratch& s, const Span& span, int kv_head, int group,
                                   int key, int n, int token) {
  for (int i = own_thread(); i < group * kChunk; i += kThreads) {
    const int k = i % kChunk, h = i / kChunk;
    bool is_seen = k < n;
    if (is_seen && a.window > 0) is_seen = a.positions[token] - (span.position + key + k - span.key_begin) < a.window;
    float score = kMinusInfinity;
    if (is_seen) {
      const int d = a.kv.head_dim;
      score = a.scale * dot_key(s.turned + h * d, kv_row(a.kv, key + k, kv_head, false), a.kv.type, d);
      if (a.soft_cap > 0) score = a.soft_cap * tanhf(score / a.soft_cap);
    }
    s.weights[i] = score;
  }
}

// Scores to weights, one warp per head. A head that has seen nothing yet keeps its zeros.
__device__ inline void weigh_chunk(const Scratch& s, int group) {
  const int lane = own_thread() % kWarpThreads;
  for (int h = own_thread() / kWarpThreads; h < group; h += kThreads / kWarpThreads) {
    float* weights = s.weights + h * kChunk;
    const float first = weights[lane], second = weights[lane + kWarpThreads];
    const float before = s.top[h], top = fmaxf(before, warp_max(fmaxf(first, second)));
    const bool has_seen = top > kMinusInfinity || first != first || second != second;
    const float base = top > kMinusInfinity ? top : 0.0f;
    weights[lane] = has_seen ? expf(first - base) : 0.0f;
    weights[lane + kWarpThreads] = has_seen ? expf(second - base) : 0.0f;
    const float sum = warp_sum(weights[lane] + weights[lane + kWarpThreads]);
    __syncwarp();  // all have read the head's greatest score
    if (lane == 0) {
      const float fade = before > kMinusInfinity ? expf(before - base) : 0.0f;
      s.fade[h] = fade;
      s.total[h] = s.total[h] * fade + sum;
      s.top[h] = top;
    }
  }
}

__device__ inline void add_values(const AttentionArgs& a, const Scratch& s, int kv_head, int group, int key, int n) {
  const int d = a.kv.head_dim;
  for (int i = own_thread(); i < group * d; i += kThreads) {
    const float* weights = s.weights + i / d * kChunk;
    float sum = s.sums[i] * s.fade[i / d];
    for (int k = 0; k < n; ++k) sum += weights[k] * kv_number(kv_row(a.kv, key + k, kv_head, true), a.kv.type, i % d);
    s.sums[i] = sum;
  }
}

}  // namespace

// Grid: (kv heads, tokens, splits). Block: 128. Shared: attend_rows_shared_bytes.
extern "C" __global__ void __launch_bounds__(128) attend_rows(const AttentionArgs asked) {
  const AttentionArgs a = placed(asked);
  const int kv_head = static_cast<int>(blockIdx.x), token = static_cast<int>(blockIdx.y);
  const int split = static_cast<int>(blockIdx.z);
  const int d = a.kv.head_dim, group = a.n_heads / a.kv.n_kv_heads;
  const int head_group = kv_head / (a.kv.n_kv_heads / a.n_groups);
  const Scratch s = scratch_of(group, d);
  const int64_t first_head = int64_t{token} * a.n_heads + kv_head * group;
  for (int i = own_thread(); i < group * d; i += kThreads) {
    s.q[i] = a.q[first_head * d + i];
    s.sums[i] = 0;
  }
  for (int h = own_thread(); h < group; h += kThreads) {
    s.top[h] = kMinusInfinity;
    s.total[h] = 0;
  }

  int total = 0;
  for (int i = a.group_begin[head_group]; i < a.group_begin[head_group + 1]; ++i)
    total += visible(a.spans[i], a.first_key + token);
  const int share = (total + a.n_splits * kChunk - 1) / (a.n_splits * kChunk) * kChunk;
  const int begin = split * share, end = begin + share < total ? begin + share : total;

  int before = 0, turned_for = 0;
  bool is_turned = false;
  for (int i = a.group_begin[head_group]; i < a.group_begin[head_group + 1]; ++i) {
    const Span span = a.spans[i];
    const int seen = visible(span, a.first_key + token);
    const int first = begin > before ? begin - before : 0, last = end - before < seen ? end - before : seen;
    before += seen;
    for (int k = first; k < last; k += kChunk) {
      const int n = last - k < kChunk ? last - k : kChunk;
      __syncthreads();  // the last chunk is done with
      if (!is_turned || turned_for != span.rope_shift) {
        turn_query(a, s, group, span.rope_shift);
        turned_for = span.rope_shift;
        is_turned = true;
      }
      score_chunk(a, s, span, kv_head, group, span.key_begin + k, n, token);
      __syncthreads();
      weigh_chunk(s, group);
      __syncthreads();
      add_values(a, s, kv_head, group, span.key_begin + k, n);
    }
  }
  __syncthreads();
  float* partial = a.partial + (first_head * a.n_splits + split * group) * (d + 2);
  for (int i = own_thread(); i < group * d; i += kThreads) partial[i / d * (d + 2) + 2 + i % d] = s.sums[i];
  for (int h = own_thread(); h < group; h += kThreads) {
    partial[h * (d + 2)] = s.top[h];
    partial[h * (d + 2) + 1] = s.total[h];
  }
}

// Grid: (heads, tokens). Block: any.
extern "C" __global__ void attend_join(const AttentionArgs a) {
  const int d = a.kv.head_dim, group = a.n_heads / a.kv.n_kv_heads;
  const int head = static_cast<int>(blockIdx.x), token = static_cast<int>(blockIdx.y);
  const int64_t first_head = int64_t{token} * a.n_heads + head / group * group;
  const float* parts = a.partial + (first_head * a.n_splits + head % group) * (d + 2);
  const int64_t next = int64_t{group} * (d + 2);
  float top = kMinusInfinity, total = 0;
  for (int s = 0; s < a.n_splits; ++s) top = fmaxf(top, parts[s * next]);
  const float base = top > kMinusInfinity ? top : 0.0f;
  for (int s = 0; s < a.n_splits; ++s) total += parts[s * next + 1] * expf(parts[s * next] - base);
  float* out = a.out + (int64_t{token} * a.n_heads + head) * d;
  for (int i = own_thread(); i < d; i += static_cast<int>(blockDim.x)) {
    float sum = 0;
    for (int s = 0; s < a.n_splits; ++s) sum += parts[s * next + 2 + i] * expf(parts[s * next] - base);
    out[i] = total == 0 ? 0.0f : sum / total;
  }
}
