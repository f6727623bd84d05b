// Used where spdlog is not installed (a bare GPU machine): the engine is then run by tests and benchmarks only.
#include <cstdio>

#include "engine/base/log.h"

namespace longleaf {

Status start_log(const std::filesystem::path&, bool) { return {}; }

void log(LogLevel level, std::string_view message) {
  if (level >= LogLevel::Warning) std::fprintf(stderr, "%.*s\n", static_cast<int>(message.size()), message.data());
}

}  // namespace longleaf
