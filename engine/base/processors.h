// How many processors this program may use at once. Any thread.
#pragma once

#include <filesystem>

namespace longleaf {

// Those that it may run on (taskset), at most as many as its control group has time for (containers), at least one.
int usable_processors();

// Of a control group (version 2) and those above it: the least `quota / period`, rounded up; 0: no limit.
//   root   where the groups are mounted
//   group  the program's, as /proc/self/cgroup names it: "/a/b"
int processors_of_group(const std::filesystem::path& root, const std::filesystem::path& group);

}  // namespace longleaf
