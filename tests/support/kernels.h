// What the tests of the kernels share: random numbers, bounds, arrays on a device, and the devices to test.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu_backend.h"
#include "tests/support/test_gpu.h"

namespace longleaf::test {

using namespace longleaf::kernels;

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr double kUnit = 5.96e-8;  // 2^-24: rounding of one f32 operation
inline std::mt19937 rng(7);

inline std::vector<float> random_floats(size_t n, float scale = 1.0f) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> v(n);
  for (auto& x : v) x = normal(rng);
  return v;
}

template <typename T>
DevicePtr ptr(std::vector<T>& v) {
  return reinterpret_cast<DevicePtr>(v.data());
}

// Largest |a-b|/bound; NaN counts as failure.
inline double worst(const std::vector<float>& a, const std::vector<float>& b, const std::vector<double>& bound) {
  double top = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double ratio = std::abs(double{a[i]} - double{b[i]}) / bound[i];
    top = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : std::max(top, ratio);
  }
  return top;
}

// Numbers in a device's memory.
template <typename T>
class OnDevice {
 public:
  OnDevice(const Backend& backend, const std::vector<T>& values) : backend_(backend), n_(values.size()) {
    auto buffer = Buffer::allocate(backend, n_ * sizeof(T));
    CHECK(buffer.ok());
    buffer_ = std::move(*buffer);
    CHECK(backend.upload(backend.self, data(), values.data(), n_ * sizeof(T)).ok());
  }
  DevicePtr data() const { return buffer_.data(); }
  std::vector<T> read() const {
    std::vector<T> values(n_);
    const Status status = backend_.download(backend_.self, values.data(), data(), n_ * sizeof(T));
    if (!status.ok()) fail(__FILE__, __LINE__, status.message());
    return values;
  }

 private:
  const Backend& backend_;
  size_t n_;
  Buffer buffer_;
};

// Every instruction set of this processor, or the GPU.
inline std::vector<BackendPtr> backends() {
  std::vector<BackendPtr> all;
  if (test_gpu() != nullptr) {
    all.push_back(make_test_gpu());
    return all;
  }
  for (Isa isa : {Isa::Baseline, Isa::Sse42, Isa::Avx2, Isa::AvxVnni, Isa::Avx512, Isa::Avx512Bf16, Isa::NeonDot})
    if (auto backend = make_cpu_backend({.isa = isa, .n_threads = 2, .limit_bytes = 0}))
      all.push_back(std::move(backend));
  return all;
}

}  // namespace longleaf::test
