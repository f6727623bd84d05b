// What the operations of training are given, as processors and cards take it; see training.h. Plain C++, for every
// compiler.
#pragma once

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

}  // namespace longleaf::kernels
