// What training asks of a device beyond inference: products of any two matrices, and what flows back through the
// operations of backend.h. One table per kind of device; a device without one cannot train.
//
// All numbers are f32 on the device, matrices row-major unless a view says otherwise. What flows back is added to what
// is there, so that a value that is used twice collects both parts; outputs must not overlap inputs. No result depends
// on how many threads compute it: training that is taken up again goes on to the same bits.
// Not thread-safe: the thread that owns the backend.
#pragma once

#include <span>

#include "engine/base/status.h"
#include "kernels/training_types.h"

namespace longleaf::kernels {

// Causal attention within sequences:
//   out[t,h] = softmax over visible keys of soft_cap( scale * <q[t,h], k[key,h/G]> ) · v[key,h/G]
// A query sees its own key and those before it in its sequence; where there is a window, the last `window` of them.
struct SequenceAttention {
  DevicePtr q = nullptr;                // (n_queries, n_heads, head_dim)
  DevicePtr k = nullptr, v = nullptr;   // (n_keys, n_kv_heads, head_dim)
  DevicePtr out = nullptr;              // (n_queries, n_heads, head_dim)
  DevicePtr norms = nullptr;            // (n_queries, n_heads): log of the sum of exponentials of the visible scores
  std::span<const Sequence> sequences;  // in host memory; disjoint queries, disjoint keys
  int n_heads = 0, n_kv_heads = 0, head_dim = 0;
  float scale = 1, soft_cap = 0;
  int window = 0;
};

// `of` as it was computed, `out` and `norms` included. Tri Dao, FlashAttention-2, arXiv 2307.08691, section 3.2.
struct SequenceAttentionBack {
  SequenceAttention of;
  DevicePtr dout = nullptr;                            // like out
  DevicePtr dq = nullptr, dk = nullptr, dv = nullptr;  // like q, k, v
};

struct TrainingOps {
  Status (*copy)(void* self, DevicePtr from, DevicePtr to, size_t bytes);
  // Whether unpack reads what Backend::pack made of a weight, in device memory; else the weight itself, in host memory.
  bool unpacks_packed = false;
  // out (rows, cols) = the numbers that `rows` stand for. packed: see above; nullptr where it is not read.
  Status (*unpack)(void* self, const Weight& rows, DevicePtr packed, DevicePtr out);
  Status (*gemm)(void* self, const GemmArgs& args);
  Status (*rms_norm_back)(void* self, const NormBack& args);
  Status (*gate_back)(void* self, const GateBack& args);
  // Unsupported, with the reason, where attention cannot be computed for heads of so many numbers.
  Status (*takes_heads)(void* self, int head_dim);
  Status (*attention)(void* self, const SequenceAttention& args);
  Status (*attention_back)(void* self, const SequenceAttentionBack& args);
  Status (*cross_entropy)(void* self, const CrossEntropy& args);
  Status (*softmax)(void* self, const SoftmaxArgs& args);
  Status (*softmax_back)(void* self, const SoftmaxArgs& args);
  // x[ids[i]] += rows[i] for i = 0 … n-1, in this order: rows (n, cols), ids i32 (n), which may repeat.
  Status (*add_rows)(void* self, DevicePtr rows, DevicePtr ids, int n, int cols, DevicePtr x);
  // x (rows, cols) times factors (rows), row by row: out = or, where add, out +=.
  Status (*scale_rows)(void* self, DevicePtr x, DevicePtr factors, int rows, int cols, DevicePtr out, bool add);
  // out[i] += <x[i], y[i]>, rows of (rows, cols).
  Status (*dot_rows)(void* self, DevicePtr x, DevicePtr y, int rows, int cols, DevicePtr out);
  // y = x where x > 0, slope * x elsewhere; back: dx += dy times the slope there.
  Status (*leaky)(void* self, DevicePtr x, float slope, int64_t n, DevicePtr y);
  Status (*leaky_back)(void* self, DevicePtr x, DevicePtr dy, float slope, int64_t n, DevicePtr dx);
  Status (*adam)(void* self, const AdamStep& step);
  // The sum of squares of n values, in double.
  Result<double> (*squares)(void* self, DevicePtr x, int64_t n);
};

}  // namespace longleaf::kernels
