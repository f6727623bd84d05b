// Libraries that are opened when the program runs. Any thread.
#pragma once

namespace longleaf::kernels::cuda {

// nullptr where there is none; it stays open as long as the program.
void* open_library(const char* name);
// nullptr where the library has none.
void* find_symbol(void* library, const char* name);

}  // namespace longleaf::kernels::cuda
