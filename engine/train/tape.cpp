#include "engine/train/tape.h"

#include <algorithm>
#include <cassert>

namespace longleaf::train {

using kernels::DevicePtr;
using kernels::GemmArgs;

void Batch::add(int n) {
  const int begin = n_tokens();
  sequences.push_back({begin, n, begin, n});
  for (int i = 0; i < n; ++i) positions.push_back(i);
}

void Tape::fail(Status status) {
  if (status_.ok() && !status.ok()) status_ = std::move(status);
}

bool Tape::goes_on() {
  if (stop_.stop_requested()) fail(Status(Code::Cancelled, "Stopped"));
  return ok();
}

void Tape::clear() {
  nodes_.clear();
  arena_.release({});
  status_ = {};
}

std::vector<float> Tape::read(Var v) {
  if (!ok()) return {};
  std::vector<float> values(static_cast<size_t>(size(v)));
  fail(backend_.download(backend_.self, values.data(), value(v), values.size() * 4));
  return values;
}

std::vector<float> Tape::read_gradient(Var v) {
  if (!ok()) return {};
  std::vector<float> values(static_cast<size_t>(size(v)));
  fail(backend_.download(backend_.self, values.data(), gradient(v), values.size() * 4));
  return values;
}

DevicePtr Tape::take(size_t bytes) {
  auto memory = arena_.take(bytes);
  if (memory.ok()) return *memory;
  fail(memory.status());
  return nullptr;
}

DevicePtr Tape::ints(std::span<const int32_t> values) {
  const DevicePtr p = take(values.size_bytes());
  if (ok()) fail(backend_.upload(backend_.self, p, values.data(), values.size_bytes()));
  return p;
}

DevicePtr Tape::ones(int64_t n) {
  const std::vector<float> values(static_cast<size_t>(n), 1.0f);
  const DevicePtr p = take_floats(n);
  if (ok()) fail(backend_.upload(backend_.self, p, values.data(), values.size() * 4));
  return p;
}

DevicePtr Tape::gradient(Var v) {
  Node& n = node(v);
  if (n.gradient != nullptr) return n.gradient;
  n.gradient = take_floats(size(v));
  if (ok()) fail(backend_.scale(backend_.self, n.gradient, 0, size(v)));
  return n.gradient;
}

DevicePtr Tape::sink(Var v) { return wants(v) ? gradient(v) : take_floats(size(v)); }

Var Tape::make(int rows, int cols, bool wants_gradient) {
  if (!goes_on()) return {};
  nodes_.push_back({rows, cols, take_floats(int64_t{rows} * cols), nullptr, wants_gradient, nullptr});
  return {static_cast<int>(nodes_.size()) - 1};
}

Var Tape::make(int rows, int cols, std::initializer_list<Var> parents) {
  bool wanted = false;
  for (const Var parent : parents) wanted = wanted || (ok() && wants(parent));
  return make(rows, cols, wanted);
}

void Tape::on_back(Var v, std::function<void()> back) {
  if (ok() && recording_ && wants(v)) node(v).back = std::move(back);
}

void Tape::copy(DevicePtr from, DevicePtr to, int64_t n) {
  if (ok()) fail(ops_.copy(backend_.self, from, to, static_cast<size_t>(n) * 4));
}

void Tape::multiply(GemmArgs args) {
  if (ok()) fail(ops_.gemm(backend_.self, args));
}

void Tape::flow(Var to, DevicePtr from, float scale, int64_t n) {
  const DevicePtr p = gradient(to);
  if (ok()) fail(backend_.add(backend_.self, p, from, scale, n));
}

Var Tape::constant(int rows, int cols, std::span<const float> values, bool wants_gradient) {
  assert(static_cast<int64_t>(values.size()) == int64_t{rows} * cols);
  const Var v = make(rows, cols, wants_gradient);
  if (ok()) fail(backend_.upload(backend_.self, value(v), values.data(), values.size_bytes()));
  return v;
}

Var Tape::variable(int rows, int cols, DevicePtr value, DevicePtr gradient) {
  if (!ok()) return {};
  nodes_.push_back({rows, cols, value, gradient, gradient != nullptr, nullptr});
  return {static_cast<int>(nodes_.size()) - 1};
}

void Tape::aside(const std::function<void()>& f) {
  const Arena::Mark mark = arena_.mark();
  const size_t first = nodes_.size();
  f();
  nodes_.resize(first);
  arena_.release(mark);
}

Var Tape::kept(int rows, int cols, const std::function<Var()>& f) {
  const Var y = make(rows, cols, false);
  aside([&] {
    const Var inner = f();
    if (!ok()) return;
    assert(size(inner) == size(y));
    copy(value(inner), value(y), size(y));
  });
  return ok() ? y : Var{};
}

Var Tape::checkpoint(Var x, std::function<Var(Var)> f) {
  if (!ok()) return {};
  const Var y = make(rows(x), cols(x), false);
  if (!ok()) return {};
  const bool outer = std::exchange(recording_, false);
  const Arena::Mark mark = arena_.mark();
  const Var inner = f(x);
  if (ok()) {
    assert(size(inner) == size(y));
    copy(value(inner), value(y), size(y));
    node(y).wants_gradient = wants(inner);
  }
  recording_ = outer;
  nodes_.resize(static_cast<size_t>(y.index) + 1);
  arena_.release(mark);
  on_back(y, [=, this, again = std::move(f)] {
    if (wants(x)) gradient(x);  // it must outlive what is computed here
    const DevicePtr dy = gradient(y);
    const Arena::Mark before = arena_.mark();
    const size_t first = nodes_.size();
    const Var output = again(x);
    if (ok()) {
      node(output).gradient = dy;
      run_back(first);
    }
    nodes_.resize(first);
    arena_.release(before);
  });
  return y;
}

Status Tape::backward() {
  run_back(0);
  return status_;
}

// Nodes that nothing flowed to have nothing to pass on.
void Tape::run_back(size_t first) {
  for (size_t i = nodes_.size(); i-- > first && ok();) {
    const bool is_loss = nodes_[i].value == nullptr;
    if (nodes_[i].back == nullptr || (!is_loss && nodes_[i].gradient == nullptr)) continue;
    const auto back = std::move(nodes_[i].back);  // it may add nodes, which moves the others
    back();
  }
}

}  // namespace longleaf::train
