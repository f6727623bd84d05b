// The kernels that the emulator has, by name: what a fat binary is to a driver.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace simt {

struct Entry {
  // Runs one thread of the kernel. parameters: pointers to what it takes, as for cuLaunchKernel.
  void (*run)(void** parameters);
  size_t args_bytes;  // of the one struct that it takes
};

inline std::map<std::string, Entry>& entries() {
  static std::map<std::string, Entry> all;
  return all;
}

template <auto kKernel>
struct Caller;
template <typename Args, void (*kKernel)(Args)>
struct Caller<kKernel> {
  static void call(void** parameters) { kKernel(*static_cast<const Args*>(parameters[0])); }
  static constexpr Entry kEntry{&call, sizeof(Args)};
};

struct Registration {
  Registration(const char* name, Entry entry) { entries()[name] = entry; }
};

}  // namespace simt

#define SIMT_KERNEL(name) static const simt::Registration register_##name(#name, simt::Caller<&name>::kEntry);
