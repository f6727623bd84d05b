// Real files that are not part of the repository. LONGLEAF_SHARED_DATA names their folder; without it, the folder
// ../shared/data beside the checkout is tried. Tests that need it skip where it is missing.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace longleaf::test {

inline std::filesystem::path shared_data() {
  if (const char* folder = std::getenv("LONGLEAF_SHARED_DATA")) return folder;
  return std::filesystem::path(LONGLEAF_TEST_DATA) / "../../../shared/data";
}

}  // namespace longleaf::test
