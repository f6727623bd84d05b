// The operations of a tape, and what flows back through them.
#include <algorithm>
#include <cassert>

#include "engine/train/tape.h"

namespace longleaf::train {

using kernels::DevicePtr;
using kernels::MatrixView;

namespace {

constexpr int kLossRows = 256;  // whose logits are computed together

MatrixView view(DevicePtr data, int cols, bool transpose) {
  return transpose ? MatrixView{data, 1, cols} : MatrixView{data, cols, 1};
}

}  // namespace

Var Tape::unpacked(const kernels::Weight& weight, kernels::DevicePtr packed) {
  const Var v = make(weight.rows, weight.cols, false);
  if (ok()) fail(ops_.unpack(backend_.self, weight, packed, value(v)));
  return v;
}

Var Tape::embedded(const kernels::Weight& table, std::span<const int32_t> ids) {
  const Var v = make(static_cast<int>(ids.size()), table.cols, false);
  if (ok()) fail(backend_.embed(backend_.self, table, ids.data(), static_cast<int>(ids.size()), value(v)));
  return v;
}

// With A = op(a) and B = op(b): dA = dy · Bᵀ and dB = Aᵀ · dy, transposed once more where a or b were.
Var Tape::product(Var a, bool ta, Var b, bool tb, float alpha) {
  if (!ok()) return {};
  const int a_cols = cols(a), b_cols = cols(b);
  const int m = ta ? a_cols : rows(a), k = ta ? rows(a) : a_cols, n = tb ? rows(b) : b_cols;
  assert(k == (tb ? b_cols : rows(b)));
  const Var y = make(m, n, {a, b});
  if (!ok()) return {};
  multiply({view(value(a), a_cols, ta), view(value(b), b_cols, tb), value(y), n, m, n, k, alpha, false});
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y);
    if (wants(a)) {
      if (ta)
        multiply({view(value(b), b_cols, tb), view(dy, n, true), gradient(a), a_cols, k, m, n, alpha, true});
      else
        multiply({view(dy, n, false), view(value(b), b_cols, !tb), gradient(a), a_cols, m, k, n, alpha, true});
    }
    if (wants(b)) {
      if (tb)
        multiply({view(dy, n, true), view(value(a), a_cols, ta), gradient(b), b_cols, n, k, m, alpha, true});
      else
        multiply({view(value(a), a_cols, !ta), view(dy, n, false), gradient(b), b_cols, k, n, m, alpha, true});
    }
  });
  return y;
}

Var Tape::add(Var a, Var b, float scale) {
  if (!ok()) return {};
  assert(size(a) == size(b));
  const Var y = make(rows(a), cols(a), {a, b});
  if (!ok()) return {};
  copy(value(a), value(y), size(y));
  if (ok()) fail(backend_.add(backend_.self, value(y), value(b), scale, size(y)));
  on_back(y, [=, this] {
    if (wants(a)) flow(a, gradient(y), 1, size(y));
    if (wants(b)) flow(b, gradient(y), scale, size(y));
  });
  return y;
}

Var Tape::add_row(Var a, Var row) {
  if (!ok()) return {};
  assert(rows(row) == 1 && cols(row) == cols(a));
  const Var y = make(rows(a), cols(a), {a, row});
  const int n = rows(a), c = cols(a);
  const DevicePtr one = ones(n);
  if (!ok()) return {};
  copy(value(a), value(y), size(y));
  multiply({view(one, 1, false), view(value(row), c, false), value(y), c, n, c, 1, 1, true});
  on_back(y, [=, this] {
    if (wants(a)) flow(a, gradient(y), 1, size(y));
    if (wants(row)) multiply({view(one, n, false), view(gradient(y), c, false), gradient(row), c, 1, c, n, 1, true});
  });
  return y;
}

Var Tape::scaled(Var a, float factor) {
  if (!ok() || factor == 1) return a;
  const Var y = make(rows(a), cols(a), {a});
  if (!ok()) return {};
  copy(value(a), value(y), size(y));
  if (ok()) fail(backend_.scale(backend_.self, value(y), factor, size(y)));
  on_back(y, [=, this] { flow(a, gradient(y), factor, size(y)); });
  return y;
}

Var Tape::rms_norm(Var x, Var weight, float eps) {
  if (!ok()) return {};
  const int width = cols(weight), n = static_cast<int>(size(x) / width);
  assert(size(x) == int64_t{n} * width);
  const Var y = make(rows(x), cols(x), {x, weight});
  if (!ok()) return {};
  fail(backend_.rms_norm(backend_.self, value(x), value(weight), eps, n, width, value(y)));
  on_back(y, [=, this] {
    const DevicePtr dweight = wants(weight) ? gradient(weight) : nullptr;
    const DevicePtr dy = gradient(y), dx = sink(x);
    if (ok()) fail(ops_.rms_norm_back(backend_.self, {value(x), value(weight), dy, dx, dweight, n, width, eps}));
  });
  return y;
}

Var Tape::gated(kernels::Activation activation, Var gate, Var up) {
  if (!ok()) return {};
  assert(size(gate) == size(up));
  const Var y = make(rows(gate), cols(gate), {gate, up});
  if (!ok()) return {};
  copy(value(gate), value(y), size(y));
  if (ok()) fail(backend_.gate(backend_.self, activation, value(y), value(up), size(y)));
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y), dgate = sink(gate), dup = sink(up);
    if (ok()) fail(ops_.gate_back(backend_.self, {activation, value(gate), value(up), dy, dgate, dup, size(y)}));
  });
  return y;
}

Var Tape::rotated(Var x, const Batch& batch, const Rotation& rotation, int n_heads) {
  if (!ok()) return {};
  const int n = rows(x), head_dim = cols(x) / n_heads;
  assert(batch.n_tokens() == n);
  const Var y = make(n, cols(x), {x});
  std::vector<int32_t> backwards = batch.positions;
  for (int32_t& position : backwards) position = -position;
  const DevicePtr positions = ints(batch.positions), opposite = ints(backwards);
  const DevicePtr inv_freq = take_floats(static_cast<int64_t>(rotation.inv_freq.size()));
  if (!ok()) return {};
  fail(backend_.upload(backend_.self, inv_freq, rotation.inv_freq.data(), rotation.inv_freq.size() * 4));
  copy(value(x), value(y), size(y));
  const kernels::RopeArgs args{value(y),      positions,      inv_freq,          n, n_heads, head_dim,
                               rotation.dims, rotation.style, rotation.magnitude};
  if (ok()) fail(backend_.rope(backend_.self, args));
  on_back(y, [=, this] {  // the opposite rotation, of a gradient that nobody needs any more
    kernels::RopeArgs back = args;
    back.x = gradient(y), back.positions = opposite;
    if (ok()) fail(backend_.rope(backend_.self, back));
    flow(x, back.x, 1, size(y));
  });
  return y;
}

Var Tape::attention(Var q, Var k, Var v, const Batch& batch, const Heads& heads) {
  if (!ok()) return {};
  assert(cols(q) == heads.n_heads * heads.head_dim && cols(k) == heads.n_kv_heads * heads.head_dim);
  const Var y = make(rows(q), cols(q), {q, k, v});
  const DevicePtr norms = take_floats(int64_t{rows(q)} * heads.n_heads);
  if (!ok()) return {};
  const auto args = [=, this](const std::vector<kernels::Sequence>& sequences) {
    return kernels::SequenceAttention{value(q),       value(k),    value(v),       value(y),
                                      norms,          sequences,   heads.n_heads,  heads.n_kv_heads,
                                      heads.head_dim, heads.scale, heads.soft_cap, heads.window};
  };
  fail(ops_.attention(backend_.self, args(batch.sequences)));
  on_back(y, [=, this, sequences = batch.sequences] {
    const DevicePtr dy = gradient(y), dq = sink(q), dk = sink(k), dv = sink(v);
    if (ok()) fail(ops_.attention_back(backend_.self, {args(sequences), dy, dq, dk, dv}));
  });
  return y;
}

Var Tape::gathered(Var x, std::vector<int32_t> ids) {
  if (!ok()) return {};
  const auto n = static_cast<int>(ids.size());
  const Var y = make(n, cols(x), {x});
  const DevicePtr places = ints(ids);
  if (!ok()) return {};
  fail(backend_.gather_rows(backend_.self, value(x), places, n, cols(x), value(y)));
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y), dx = gradient(x);
    if (ok()) fail(ops_.add_rows(backend_.self, dy, places, n, cols(x), dx));
  });
  return y;
}

Var Tape::scattered(Var x, std::vector<int32_t> ids, int n_rows) {
  if (!ok()) return {};
  const auto n = static_cast<int>(ids.size());
  const Var y = make(n_rows, cols(x), {x});
  const DevicePtr places = ints(ids);
  if (!ok()) return {};
  fail(backend_.scale(backend_.self, value(y), 0, size(y)));
  if (ok()) fail(ops_.add_rows(backend_.self, value(x), places, n, cols(x), value(y)));
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y), part = take_floats(size(x));
    if (ok()) fail(backend_.gather_rows(backend_.self, dy, places, n, cols(x), part));
    flow(x, part, 1, size(x));
  });
  return y;
}

Var Tape::stacked(std::span<const Var> parts) {
  if (!ok()) return {};
  assert(!parts.empty());
  int n = 0;
  bool wanted = false;
  for (const Var part : parts) n += rows(part), wanted = wanted || wants(part);
  const int width = cols(parts[0]);
  const Var y = make(n, width, wanted);
  if (!ok()) return {};
  size_t at = 0;
  for (const Var part : parts) {
    assert(cols(part) == width);
    copy(value(part), kernels::at(value(y), at), size(part));
    at += static_cast<size_t>(size(part)) * 4;
  }
  on_back(y, [this, y, all = std::vector<Var>(parts.begin(), parts.end())] {
    size_t from = 0;
    for (const Var part : all) {
      if (wants(part)) flow(part, kernels::at(gradient(y), from), 1, size(part));
      from += static_cast<size_t>(size(part)) * 4;
    }
  });
  return y;
}

Var Tape::reshaped(Var x, int n_rows, int n_cols) {
  if (!ok()) return {};
  assert(int64_t{n_rows} * n_cols == size(x));
  nodes_.push_back({n_rows, n_cols, value(x), nullptr, wants(x), nullptr});
  const Var y{static_cast<int>(nodes_.size()) - 1};
  on_back(y, [=, this] { flow(x, gradient(y), 1, size(y)); });
  return y;
}

Var Tape::softmax(Var x) {
  if (!ok()) return {};
  const Var y = make(rows(x), cols(x), {x});
  if (!ok()) return {};
  const int n = rows(x), c = cols(x);
  fail(ops_.softmax(backend_.self, {value(x), value(y), nullptr, nullptr, n, c}));
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y), dx = gradient(x);
    if (ok()) fail(ops_.softmax_back(backend_.self, {nullptr, value(y), dy, dx, n, c}));
  });
  return y;
}

Var Tape::row_scaled(Var x, Var factors) {
  if (!ok()) return {};
  assert(size(factors) == rows(x));
  const Var y = make(rows(x), cols(x), {x, factors});
  if (!ok()) return {};
  const int n = rows(x), c = cols(x);
  fail(ops_.scale_rows(backend_.self, value(x), value(factors), n, c, value(y), false));
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y), dx = wants(x) ? gradient(x) : nullptr;
    if (ok() && wants(x)) fail(ops_.scale_rows(backend_.self, dy, value(factors), n, c, dx, true));
    const DevicePtr dfactors = wants(factors) ? gradient(factors) : nullptr;
    if (ok() && wants(factors)) fail(ops_.dot_rows(backend_.self, dy, value(x), n, c, dfactors));
  });
  return y;
}

Var Tape::mean(Var x) {
  if (!ok()) return {};
  const int n = rows(x), c = cols(x);
  const DevicePtr one = ones(n);
  const Var y = make(1, c, {x});
  if (!ok()) return {};
  const float share = 1.0f / static_cast<float>(n);
  multiply({view(one, n, false), view(value(x), c, false), value(y), c, 1, c, n, share, false});
  on_back(y, [=, this] {
    multiply({view(one, 1, false), view(gradient(y), c, false), gradient(x), c, n, c, 1, share, true});
  });
  return y;
}

Var Tape::leaky(Var x, float slope) {
  if (!ok()) return {};
  const Var y = make(rows(x), cols(x), {x});
  if (!ok()) return {};
  fail(ops_.leaky(backend_.self, value(x), slope, size(x), value(y)));
  on_back(y, [=, this] {
    const DevicePtr dy = gradient(y), dx = gradient(x);
    if (ok()) fail(ops_.leaky_back(backend_.self, value(x), dy, slope, size(x), dx));
  });
  return y;
}

double Tape::cross_entropy(Var x, Var w, std::vector<int32_t> targets, std::vector<float> weights, float scale,
                           float soft_cap) {
  if (!ok()) return 0;
  const int n = rows(x), d = cols(x), vocabulary = rows(w);
  assert(cols(w) == d && targets.size() == static_cast<size_t>(n) && weights.size() == targets.size());
  const DevicePtr dx = take_floats(size(x)), losses = take_floats(n), ids = ints(targets);
  const DevicePtr shares = take_floats(n);
  if (!ok()) return 0;
  fail(backend_.upload(backend_.self, shares, weights.data(), weights.size() * 4));
  const DevicePtr dw = wants(w) && recording_ ? gradient(w) : nullptr;
  const Arena::Mark mark = arena_.mark();
  const DevicePtr logits = take_floats(int64_t{std::min(n, kLossRows)} * vocabulary);
  for (int first = 0; first < n && goes_on(); first += kLossRows) {
    const int some = std::min(kLossRows, n - first);
    const auto row = static_cast<size_t>(first) * 4;
    const DevicePtr part = kernels::at(value(x), row * static_cast<size_t>(d));
    multiply({view(part, d, false), view(value(w), d, true), logits, vocabulary, some, vocabulary, d, 1, false});
    if (!ok()) break;
    fail(ops_.cross_entropy(backend_.self, {logits, kernels::at(ids, row), kernels::at(shares, row),
                                            kernels::at(losses, row), some, vocabulary, scale, soft_cap}));
    multiply({view(logits, vocabulary, false), view(value(w), d, false), kernels::at(dx, row * static_cast<size_t>(d)),
              d, some, d, vocabulary, 1, false});
    if (dw != nullptr)
      multiply({view(logits, vocabulary, true), view(part, d, false), dw, d, vocabulary, d, some, 1, true});
  }
  arena_.release(mark);
  std::vector<float> each(targets.size());
  if (ok()) fail(backend_.download(backend_.self, each.data(), losses, each.size() * 4));
  if (!ok()) return 0;
  double sum = 0;
  for (size_t i = 0; i < each.size(); ++i) sum += double{weights[i]} * double{each[i]};
  // A node without a value, so that what is known already flows back in its turn.
  if (recording_ && wants(x)) {
    nodes_.push_back({0, 0, nullptr, nullptr, true, [=, this] { flow(x, dx, 1, size(x)); }});
  }
  return sum;
}

double Tape::loss(Var x, const std::function<double(std::span<const float>, std::span<float>)>& f) {
  const std::vector<float> values = read(x);
  if (!ok()) return 0;
  std::vector<float> slopes(values.size(), 0.0f);
  const double sum = f(values, slopes);
  if (!recording_ || !wants(x)) return sum;
  const DevicePtr dx = take_floats(size(x));
  if (ok()) fail(backend_.upload(backend_.self, dx, slopes.data(), slopes.size() * 4));
  if (ok()) nodes_.push_back({0, 0, nullptr, nullptr, true, [=, this] { flow(x, dx, 1, size(x)); }});
  return sum;
}

}  // namespace longleaf::train
