// The GPU that a test program runs on. The environment variable LONGLEAF_TEST_DEVICE names it: unset, none; "gpu", the
// NVIDIA card; else the path of a library that plays its driver (tests/support/simt).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/cuda_backend.h"
#include "tests/support/check.h"
#include "tests/support/simt/control.h"

namespace longleaf::test {

inline const char* test_gpu() { return std::getenv("LONGLEAF_TEST_DEVICE"); }

inline kernels::cuda::DeviceOptions test_gpu_options() {
  const std::string device = test_gpu();
  if (device != "gpu") return simt_options(device);
  kernels::cuda::DeviceOptions options;
  options.own_products = true;  // what is tested is ours
  return options;
}

// The card, or the library that plays one; skips the program where there is none.
inline kernels::BackendPtr make_test_gpu() {
  auto backend = kernels::make_cuda_backend(test_gpu_options());
  if (backend.ok()) return std::move(*backend);
  const bool is_card = std::string(test_gpu()) == "gpu";
  if (std::getenv("LONGLEAF_REQUIRE_GPU") == nullptr && is_card) skip_all(backend.status().message());
  std::printf("%s\n", backend.status().message().c_str());
  std::exit(1);
}

}  // namespace longleaf::test
