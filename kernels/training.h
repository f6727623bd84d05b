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
#include "kernels/types.h"

namespace longleaf::kernels {

// A matrix whose element (i, j) is data[i * row_stride + j * col_stride]; strides in numbers, one of them 1.
struct MatrixView {
  DevicePtr data = nullptr;
  int64_t row_stride = 0, col_stride = 1;
};

// c (m, n) = alpha * a (m, k) · b (k, n), or added to c. Each element is summed in the order of k.
struct GemmArgs {
  MatrixView a, b;
  DevicePtr c = nullptr;
  int64_t c_stride = 0;  // from row to row
  int m = 0, n = 0, k = 0;
  float alpha = 1;
  bool add = false;
};

// y = x / sqrt(mean(x²) + eps) * weight, row by row; see Backend::rms_norm.
struct NormBack {
  DevicePtr x = nullptr, weight = nullptr, dy = nullptr;  // (rows, cols), (cols), (rows, cols)
  DevicePtr dx = nullptr;                                 // (rows, cols)
  DevicePtr dweight = nullptr;                            // (cols), or nullptr
  int rows = 0, cols = 0;
  float eps = 0;
};

// y = activation(gate) * up, or activation(gate) where up is nullptr.
struct GateBack {
  Activation activation = Activation::Silu;
  DevicePtr gate = nullptr, up = nullptr, dy = nullptr;  // n values each
  DevicePtr dgate = nullptr, dup = nullptr;
  int64_t n = 0;
};

// The tokens of one sequence among those that are computed together. Its queries are the last of its keys.
struct Sequence {
  int32_t query_begin = 0, n_queries = 0;
  int32_t key_begin = 0, n_keys = 0;  // n_keys >= n_queries
  bool operator==(const Sequence&) const = default;
};

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

// losses[i] = -log softmax(z[i])[targets[i]] with z = soft_cap(scale * logits); logits become what flows back to them:
// weights[i] times the gradient of losses[i].
struct CrossEntropy {
  DevicePtr logits = nullptr;   // (rows, cols), in place
  DevicePtr targets = nullptr;  // i32 (rows), below cols
  DevicePtr weights = nullptr;  // f32 (rows)
  DevicePtr losses = nullptr;   // f32 (rows)
  int rows = 0, cols = 0;
  float scale = 1, soft_cap = 0;
};

// y = softmax(x), row by row; back: from y and dy.
struct SoftmaxArgs {
  DevicePtr x = nullptr, y = nullptr;
  DevicePtr dy = nullptr, dx = nullptr;  // back only
  int rows = 0, cols = 0;
};

// One step of AdamW (Loshchilov and Hutter, arXiv 1711.05101) on n values:
//   m = b1 m + (1 - b1) g,  v = b2 v + (1 - b2) g²,  with g = gradient_scale * gradient
//   p -= rate * (m / (1 - b1^step) / (sqrt(v / (1 - b2^step)) + epsilon) + decay * p)
struct AdamStep {
  DevicePtr value = nullptr, gradient = nullptr, m = nullptr, v = nullptr;
  int64_t n = 0;
  float rate = 0, beta1 = 0.9f, beta2 = 0.999f, epsilon = 1e-8f, decay = 0, gradient_scale = 1;
  int64_t step = 1;  // counts from 1
};

struct TrainingOps {
  Status (*copy)(void* self, DevicePtr from, DevicePtr to, size_t bytes);
  // out (rows, cols) = the numbers that `rows`, in host memory as files have them, stand for.
  Status (*unpack)(void* self, const Weight& rows, DevicePtr out);
  Status (*gemm)(void* self, const GemmArgs& args);
  Status (*rms_norm_back)(void* self, const NormBack& args);
  Status (*gate_back)(void* self, const GateBack& args);
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
