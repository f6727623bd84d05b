#include "engine/base/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "engine/base/control_group.h"

namespace longleaf {
namespace {

// The number behind a name at the beginning of a line; 0 where there is none.
uint64_t number_behind(const std::filesystem::path& file, const std::string& name) {
  std::ifstream lines(file);
  uint64_t number = 0;
  for (std::string word; lines >> word; lines.ignore(std::numeric_limits<std::streamsize>::max(), '\n'))
    if (word == name) return lines >> number ? number : 0;
  return 0;
}

// What a group leaves: its limit less what it cannot give back.
uint64_t left_by_group(const std::filesystem::path& folder) {
  uint64_t most = 0, used = 0;
  std::ifstream limit(folder / "memory.max"), current(folder / "memory.current");
  if (!(limit >> most) || !(current >> used)) return std::numeric_limits<uint64_t>::max();  // "max", or no such file
  for (const char* kind : {"inactive_file", "active_file", "slab_reclaimable"})
    used -= std::min(used, number_behind(folder / "memory.stat", kind));
  return most - std::min(most, used);
}

}  // namespace

std::optional<uint64_t> free_host_memory(const std::filesystem::path& meminfo, const std::filesystem::path& root,
                                         const std::filesystem::path& group) {
  const uint64_t available = number_behind(meminfo, "MemAvailable:");
  if (available == 0) return std::nullopt;
  uint64_t free = 1024 * (available + number_behind(meminfo, "SwapFree:"));
  each_group(root, group, [&](const auto& folder) { free = std::min(free, left_by_group(folder)); });
  return free;
}

std::optional<uint64_t> free_host_memory() {
  return free_host_memory("/proc/meminfo", kControlGroups, own_control_group());
}

}  // namespace longleaf
