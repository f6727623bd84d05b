// How much memory this machine has left for a program. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace longleaf {

// Bytes that may still be taken before the system has to end programs: what is available, swap included, at most what
// the program's control group (version 2) leaves. nullopt: not known.
std::optional<uint64_t> free_host_memory();

// The same of a machine whose files are elsewhere.
//   meminfo      as /proc/meminfo
//   root, group  where control groups are mounted, and the program's, "/a/b"
std::optional<uint64_t> free_host_memory(const std::filesystem::path& meminfo, const std::filesystem::path& root,
                                         const std::filesystem::path& group);

}  // namespace longleaf
