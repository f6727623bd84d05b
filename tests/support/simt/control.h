// The emulated driver for tests: where it is, and what it is told to be.
#pragma once

#include <dlfcn.h>

#include <string>

#include "kernels/cuda/options.h"
#include "tests/support/check.h"
#include "tests/support/simt/settings.h"

namespace longleaf::test {

// Settings of the emulator at `library`; they last as long as the program. nullptr when there is none.
inline simt::Settings* simt_settings(const std::string& library) {
  void* handle = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  return handle != nullptr ? static_cast<simt::Settings*>(dlsym(handle, simt::kSettings)) : nullptr;
}

// Settings of the emulated driver, as new; they are put back at the end.
struct Emulator {
  explicit Emulator(const std::string& library) : settings(*simt_settings(library)) { settings = {}; }
  ~Emulator() { settings = {}; }
  simt::Settings& settings;
};

inline kernels::cuda::DeviceOptions simt_options(const std::string& library) {
  static const char image = 0;  // the library has its kernels within itself
  static const void* const images[] = {&image};
  return {.card = {}, .library = library, .images = images, .n_threads = 2, .own_products = false, .limit_bytes = 0};
}

}  // namespace longleaf::test
