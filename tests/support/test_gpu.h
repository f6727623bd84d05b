// The GPU that a test program runs on. The environment variable LONGLEAF_TEST_DEVICE names it: unset, none; "gpu", the
// NVIDIA card; else the path of a library that plays its driver (tests/support/simt).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>

#include "kernels/cuda_backend.h"
#include "tests/support/check.h"

namespace longleaf::test {

inline const char* test_gpu() { return std::getenv("LONGLEAF_TEST_DEVICE"); }

// The card, or the library that plays one; skips the program where there is none.
inline kernels::BackendPtr make_test_gpu() {
  const std::string device = test_gpu();
  static const char image = 0;  // the library has its kernels within itself
  static const void* const images[] = {&image};
  kernels::cuda::DeviceOptions options;
  if (device != "gpu") {
    options.library = device;
    options.images = images;
  }
  auto backend = kernels::make_cuda_backend(options);
  if (backend.ok()) return std::move(*backend);
  if (std::getenv("LONGLEAF_REQUIRE_GPU") == nullptr && device == "gpu") skip_all(backend.status().message());
  std::printf("%s\n", backend.status().message().c_str());
  std::exit(1);
}

}  // namespace longleaf::test
