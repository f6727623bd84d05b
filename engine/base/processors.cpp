#include "engine/base/processors.h"

#include <algorithm>
#include <fstream>
#include <thread>

#include "engine/base/control_group.h"

#ifdef __linux__
#include <sched.h>
#endif

namespace longleaf {
namespace {

// 0: not known.
int processors_to_run_on() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return 0;
}

}  // namespace

int processors_of_group(const std::filesystem::path& root, const std::filesystem::path& group) {
  int least = 0;
  each_group(root, group, [&](const std::filesystem::path& folder) {
    std::ifstream limit(folder / "cpu.max");
    double quota = 0, period = 0;  // "max" is no number: no limit
    if (!(limit >> quota >> period) || !(quota > 0) || !(period > 0)) return;
    const int n = static_cast<int>(std::clamp((quota + period - 1) / period, 1.0, 1e6));
    least = least == 0 ? n : std::min(least, n);
  });
  return least;
}

int usable_processors() {
  int n = processors_to_run_on();
  if (n == 0) n = static_cast<int>(std::thread::hardware_concurrency());
  if (const int group = processors_of_group(kControlGroups, own_control_group()); group > 0) n = std::min(n, group);
  return std::max(n, 1);
}

}  // namespace longleaf
