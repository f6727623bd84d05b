#include "engine/train/parameters.h"

#include <cmath>
#include <cstring>
#include <numbers>

#include "engine/base/checksum.h"

namespace longleaf::train {

using kernels::Buffer;

namespace {

constexpr char kMagic[] = "LLtrain1";
constexpr size_t kMagicBytes = 8;
constexpr const char* kLost =
    "Training has lost its way: what it computes are not numbers any more; begin anew with a lower learning rate";

Result<Buffer> zeros(const kernels::Backend& b, int64_t n) {
  LL_ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(b, static_cast<size_t>(n) * 4));
  LL_RETURN_IF_ERROR(b.scale(b.self, buffer.data(), 0, n));
  return buffer;
}

}  // namespace

float rate_at(const OptimizerSettings& s, int64_t step) {
  const bool is_first = step <= s.first_steps;
  const int64_t total = is_first ? s.first_steps : s.total_steps - s.first_steps;
  if (!is_first) step -= s.first_steps;
  if (step < s.warm_up_steps) return s.rate * static_cast<float>(step) / static_cast<float>(s.warm_up_steps);
  if (total <= s.warm_up_steps) return s.rate;
  const double done =
      std::min(1.0, static_cast<double>(step - s.warm_up_steps) / static_cast<double>(total - s.warm_up_steps));
  const double share = 0.5 * (1 + std::cos(std::numbers::pi * done));
  return static_cast<float>(double{s.rate} * (double{s.last_rate} + (1 - double{s.last_rate}) * share));
}

Result<Parameter*> Parameters::add(const std::string& name, int rows, int cols, std::span<const float> values) {
  assert(find(name) == nullptr && values.size() == static_cast<size_t>(int64_t{rows} * cols));
  Parameter p;
  p.name = name, p.rows = rows, p.cols = cols;
  LL_ASSIGN_OR_RETURN(p.value, zeros(backend_, p.size()));
  if (use_ == Use::Training) {
    for (Buffer* buffer : {&p.gradient, &p.m, &p.v}) {
      LL_ASSIGN_OR_RETURN(*buffer, zeros(backend_, p.size()));
    }
  }
  LL_RETURN_IF_ERROR(set_values(p, values));
  return &parameters_.emplace_back(std::move(p));
}

Parameter* Parameters::find(const std::string& name) {
  for (Parameter& p : parameters_)
    if (p.name == name) return &p;
  return nullptr;
}

const Parameter* Parameters::find(const std::string& name) const { return const_cast<Parameters*>(this)->find(name); }

int64_t Parameters::size() const {
  int64_t sum = 0;
  for (const Parameter& p : parameters_) sum += p.size();
  return sum;
}

Var Parameters::on(Tape& tape, const Parameter& p) const {
  return tape.variable(p.rows, p.cols, p.value.data(), p.gradient.data());
}

Result<std::vector<float>> Parameters::values(const Parameter& p) const {
  std::vector<float> values(static_cast<size_t>(p.size()));
  LL_RETURN_IF_ERROR(backend_.download(backend_.self, values.data(), p.value.data(), values.size() * 4));
  return values;
}

Status Parameters::set_values(Parameter& p, std::span<const float> values) {
  return backend_.upload(backend_.self, p.value.data(), values.data(), values.size_bytes());
}

Status Parameters::clear_gradients() {
  for (Parameter& p : parameters_) LL_RETURN_IF_ERROR(backend_.scale(backend_.self, p.gradient.data(), 0, p.size()));
  return {};
}

Status Parameters::check_values() const {
  for (const Parameter& p : parameters_) {
    LL_ASSIGN_OR_RETURN(const double sum, backend_.training->squares(backend_.self, p.value.data(), p.size()));
    if (!std::isfinite(sum)) return Status(Code::Invalid, kLost);
  }
  return {};
}

Result<double> Parameters::gradient_norm() const {
  double squares = 0;
  for (const Parameter& p : parameters_) {
    LL_ASSIGN_OR_RETURN(const double sum, backend_.training->squares(backend_.self, p.gradient.data(), p.size()));
    squares += sum;
  }
  return std::sqrt(squares);
}

Result<double> Parameters::step(const OptimizerSettings& s, int parts) {
  LL_ASSIGN_OR_RETURN(double norm, gradient_norm());
  norm /= parts;
  if (!std::isfinite(norm)) {
    LL_RETURN_IF_ERROR(clear_gradients());
    return Status(Code::Invalid, kLost);
  }
  ++steps_;
  const double clip = double{s.clip} > 0 && norm > double{s.clip} ? double{s.clip} / norm : 1.0;
  for (Parameter& p : parameters_) {
    kernels::AdamStep step{p.value.data(), p.gradient.data(), p.m.data(), p.v.data(), p.size()};
    step.rate = rate_at(s, steps_) * p.rate;
    step.beta1 = s.beta1, step.beta2 = s.beta2, step.epsilon = s.epsilon;
    step.decay = p.decays ? s.decay : 0;
    step.gradient_scale = static_cast<float>(clip / parts);
    step.step = steps_;
    LL_RETURN_IF_ERROR(backend_.training->adam(backend_.self, step));
  }
  LL_RETURN_IF_ERROR(clear_gradients());
  return norm;
}

// magic | steps i64 | count i64 | per parameter: rows i32, cols i32, value, m, v | checksum u32 of all before
Result<std::string> Parameters::state(std::string_view before) const {
  std::string out;
  out.reserve(before.size() + kMagicBytes + 20 + parameters_.size() * 8 + 12 * static_cast<size_t>(size()));
  out.append(before).append(kMagic, kMagicBytes);
  const auto put = [&](const void* p, size_t n) { out.append(static_cast<const char*>(p), n); };
  const int64_t head[] = {steps_, static_cast<int64_t>(parameters_.size())};
  put(head, sizeof head);
  for (const Parameter& p : parameters_) {
    const int32_t shape[] = {p.rows, p.cols};
    put(shape, sizeof shape);
    for (const Buffer* buffer : {&p.value, &p.m, &p.v}) {
      const size_t at = out.size(), bytes = static_cast<size_t>(p.size()) * 4;
      out.resize(at + bytes);
      LL_RETURN_IF_ERROR(backend_.download(backend_.self, out.data() + at, buffer->data(), bytes));
    }
  }
  const uint32_t sum = crc32c(out.data() + before.size(), out.size() - before.size());
  put(&sum, sizeof sum);
  return out;
}

Status Parameters::restore(std::string_view state) {
  const Status corrupt(Code::Corrupt, "The saved state of this training is damaged, or of another training");
  size_t expected = kMagicBytes + 16 + 4;
  for (const Parameter& p : parameters_) expected += 8 + 12 * static_cast<size_t>(p.size());
  if (state.size() != expected || state.substr(0, kMagicBytes) != std::string_view(kMagic, kMagicBytes)) return corrupt;
  uint32_t sum = 0;
  std::memcpy(&sum, state.data() + expected - 4, 4);
  if (sum != crc32c(state.data(), expected - 4)) return corrupt;
  int64_t head[2];
  std::memcpy(head, state.data() + kMagicBytes, sizeof head);
  bool same = head[0] >= 0 && head[1] == static_cast<int64_t>(parameters_.size());
  const size_t begin = kMagicBytes + sizeof head;
  size_t at = begin;
  for (const Parameter& p : parameters_) {
    int32_t shape[2];
    std::memcpy(shape, state.data() + at, sizeof shape);
    same = same && shape[0] == p.rows && shape[1] == p.cols;
    at += sizeof shape + 12 * static_cast<size_t>(p.size());
  }
  if (!same) return corrupt;
  at = begin;
  for (const Parameter& p : parameters_) {
    at += 8;
    for (const Buffer* buffer : {&p.value, &p.m, &p.v}) {
      const size_t bytes = static_cast<size_t>(p.size()) * 4;
      LL_RETURN_IF_ERROR(backend_.upload(backend_.self, buffer->data(), state.data() + at, bytes));
      at += bytes;
    }
  }
  steps_ = head[0];
  return clear_gradients();
}

}  // namespace longleaf::train
