// The kernels that the emulator has, by name: what a fat binary is to a driver.
#pragma once

#include <map>
#include <string>

namespace simt {

// Runs one thread of a kernel. parameters: pointers to what it takes, as for cuLaunchKernel.
using Entry = void (*)(void** parameters);

inline std::map<std::string, Entry>& entries() {
  static std::map<std::string, Entry> all;
  return all;
}

template <auto kKernel>
struct Caller;
template <typename Args, void (*kKernel)(Args)>
struct Caller<kKernel> {
  static void call(void** parameters) { kKernel(*static_cast<const Args*>(parameters[0])); }
};

struct Registration {
  Registration(const char* name, Entry entry) { entries()[name] = entry; }
};

}  // namespace simt

#define SIMT_KERNEL(name) static const simt::Registration register_##name(#name, &simt::Caller<&name>::call);
