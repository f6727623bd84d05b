// The programs that were built beside the tests.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace longleaf::test {

inline std::filesystem::path program(const char* name) {
  const char* folder = std::getenv("LONGLEAF_PROGRAMS");
  return std::filesystem::path(folder != nullptr ? folder : "bin") / name;
}

}  // namespace longleaf::test
