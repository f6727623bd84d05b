// Reverse-mode differentiation: operations on matrices are computed when they are asked for and remembered, and
// backward() carries gradients from the losses to whatever wants them. Every model that is trained here, its memory and
// its losses are written in these few operations. Operations: kernels/training.h.
//
// After a failure (no memory, a device that is gone) operations do nothing: look at status() at the end.
// Not thread-safe: one thread owns it.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "engine/train/arena.h"

namespace longleaf::train {

// A matrix on a tape, f32 (rows, cols). Valid until the tape is cleared or the checkpoint it was made in ends.
struct Var {
  int index = -1;
};

// Tokens of several sequences, one behind the other.
struct Batch {
  std::vector<kernels::Sequence> sequences;
  std::vector<int32_t> positions;  // of every token, for rotation

  // A sequence of n tokens behind those there are, at positions from 0 on.
  void add(int n);
  int n_tokens() const { return static_cast<int>(positions.size()); }
};

struct Heads {
  int n_heads = 0, n_kv_heads = 0, head_dim = 0;
  float scale = 1, soft_cap = 0;
  int window = 0;
};

struct Rotation {
  std::vector<float> inv_freq;
  int dims = 0;
  kernels::RopeStyle style = kernels::RopeStyle::Adjacent;
  float magnitude = 1;
};

class Tape {
 public:
  // REQUIRES: backend.training is not nullptr; it outlives the tape.
  explicit Tape(const kernels::Backend& backend) : backend_(backend), ops_(*backend.training), arena_(backend) {}

  const Status& status() const { return status_; }
  void fail(Status status);
  // Forgets everything but the memory that it was computed in.
  void clear();
  // From now on, a requested stop is a failure of what is computed next: Cancelled.
  void heed(std::stop_token stop) { stop_ = std::move(stop); }
  size_t bytes() const { return arena_.bytes(); }

  int rows(Var v) const { return v.index < 0 ? 0 : node(v).rows; }
  int cols(Var v) const { return v.index < 0 ? 0 : node(v).cols; }
  std::vector<float> read(Var v);
  std::vector<float> read_gradient(Var v);

  // Leaves. A constant of the tape's own; one that collects a gradient where `wants_gradient`.
  Var constant(int rows, int cols, std::span<const float> values, bool wants_gradient = false);
  // Memory of the caller; gradient nullptr: none is wanted.
  Var variable(int rows, int cols, kernels::DevicePtr value, kernels::DevicePtr gradient);
  // The numbers of weights; packed: see TrainingOps::unpack.
  Var unpacked(const kernels::Weight& weight, kernels::DevicePtr packed);
  // Rows of such weights.
  Var embedded(const kernels::Weight& table, std::span<const int32_t> ids);

  // op(a) · op(b), where op transposes or not.
  Var product(Var a, bool transpose_a, Var b, bool transpose_b, float alpha = 1);
  Var add(Var a, Var b, float scale = 1);  // a + scale * b
  Var add_row(Var a, Var row);             // row (1, cols) added to every row
  Var scaled(Var a, float factor);
  Var rms_norm(Var x, Var weight, float eps);  // weight (1, cols); of rows of a reshaped x, where cols divides
  Var gated(kernels::Activation activation, Var gate, Var up);
  Var rotated(Var x, const Batch& batch, const Rotation& rotation, int n_heads);
  Var attention(Var q, Var k, Var v, const Batch& batch, const Heads& heads);
  Var gathered(Var x, std::vector<int32_t> ids);             // rows of x, which may repeat
  Var scattered(Var x, std::vector<int32_t> ids, int rows);  // sums of rows of x: row i goes to row ids[i]
  Var stacked(std::span<const Var> parts);                   // one under another
  Var reshaped(Var x, int rows, int cols);
  Var softmax(Var x);
  Var row_scaled(Var x, Var factors);  // factors (rows, 1)
  Var mean(Var x);                     // of all rows: (1, cols)
  Var leaky(Var x, float slope);

  // Whether what is computed is remembered for backward(); it is, unless it was switched off.
  bool records() const { return recording_; }
  void record(bool on) { recording_ = on; }
  // Runs `f` and forgets what it computed: only what it read out is left.
  void aside(const std::function<void()>& f);
  // f()'s result (rows, cols), and nothing of what it was made from; no gradient flows through it.
  Var kept(int rows, int cols, const std::function<Var()>& f);

  // f(x), of the shape of x, without keeping what it computes: backward() computes it once more.
  // Chen et al., arXiv 1604.06174. `f` makes its own variables, and does the same every time.
  Var checkpoint(Var x, std::function<Var(Var)> f);

  // Losses. Each returns its value and adds to what backward() carries back. 0 after a failure.
  //   weights[i] times -log softmax(soft_cap(scale * x[i] · wᵀ))[targets[i]], summed up
  double cross_entropy(Var x, Var w, std::vector<int32_t> targets, std::vector<float> weights, float scale = 1,
                       float soft_cap = 0);
  //   of a few numbers, on the host: `f` is given those of x and fills the gradient
  double loss(Var x, const std::function<double(std::span<const float> x, std::span<float> gradient)>& f);

  // Carries gradients back to everything that wants them; a second call would do it again.
  Status backward();

 private:
  struct Node {
    int rows = 0, cols = 0;
    kernels::DevicePtr value = nullptr, gradient = nullptr;
    bool wants_gradient = false;
    std::function<void()> back;
  };
  Node& node(Var v) { return nodes_[static_cast<size_t>(v.index)]; }
  const Node& node(Var v) const { return nodes_[static_cast<size_t>(v.index)]; }
  int64_t size(Var v) const { return int64_t{node(v).rows} * node(v).cols; }
  kernels::DevicePtr value(Var v) const { return node(v).value; }
  kernels::DevicePtr gradient(Var v);  // zero when it is first asked for
  kernels::DevicePtr sink(Var v);      // its gradient, or memory that nobody reads where it wants none
  bool wants(Var v) const { return node(v).wants_gradient; }
  bool ok() const { return status_.ok(); }
  bool goes_on();  // ok() after a look for a stop

  kernels::DevicePtr take(size_t bytes);
  kernels::DevicePtr take_floats(int64_t n) { return take(static_cast<size_t>(n) * 4); }
  kernels::DevicePtr ints(std::span<const int32_t> values);
  kernels::DevicePtr ones(int64_t n);
  // A node whose value is yet to be computed; it wants a gradient where one of its parents does.
  Var make(int rows, int cols, std::initializer_list<Var> parents);
  Var make(int rows, int cols, bool wants_gradient);
  // Remembers what to do on the way back, where anyone wants it.
  void on_back(Var v, std::function<void()> back);
  void copy(kernels::DevicePtr from, kernels::DevicePtr to, int64_t n);
  void multiply(kernels::GemmArgs args);
  void flow(Var to, kernels::DevicePtr from, float scale, int64_t n);  // gradient(to) += scale * from
  void run_back(size_t first);

  const kernels::Backend& backend_;
  const kernels::TrainingOps& ops_;
  Arena arena_;
  Status status_;
  std::stop_token stop_;
  std::vector<Node> nodes_;
  bool recording_ = true;
};

}  // namespace longleaf::train
