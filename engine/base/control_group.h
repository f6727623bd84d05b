// The control group (version 2) of this program: what a container may use. Any thread.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

namespace longleaf {

inline constexpr const char* kControlGroups = "/sys/fs/cgroup";

// As /proc/self/cgroup names it, "/a/b"; empty where there is none.
inline std::filesystem::path own_control_group() {
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return {};
}

// Calls use(folder) for a group's folder under `root` and for those above it.
template <typename F>
void each_group(const std::filesystem::path& root, const std::filesystem::path& group, F use) {
  for (std::filesystem::path at = group.relative_path();; at = at.parent_path()) {
    use(root / at);
    if (at.empty()) return;
  }
}

}  // namespace longleaf
