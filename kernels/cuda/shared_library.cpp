#include "kernels/cuda/shared_library.h"

#ifdef _WIN32
#include <windows.h>

#include <cstring>
#else
#include <dlfcn.h>
#endif

namespace longleaf::kernels::cuda {

#ifdef _WIN32
// Never from the current folder, where documents may lie.
void* open_library(const char* name) {
  const bool is_path = std::strpbrk(name, "/\\") != nullptr;
  return reinterpret_cast<void*>(
      LoadLibraryExA(name, nullptr, is_path ? LOAD_WITH_ALTERED_SEARCH_PATH : LOAD_LIBRARY_SEARCH_SYSTEM32));
}
void* find_symbol(void* library, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(library), name));
}
#else
void* open_library(const char* name) { return dlopen(name, RTLD_NOW | RTLD_LOCAL); }
void* find_symbol(void* library, const char* name) { return dlsym(library, name); }
#endif

}  // namespace longleaf::kernels::cuda
