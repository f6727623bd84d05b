// The program's log: a rotating file in the data folder and, on request, stderr. Any thread.
// User-facing text never goes through here; document text never does either, because logs are sent to strangers.
#pragma once

#include <filesystem>
#include <string_view>

#include "engine/base/status.h"

namespace longleaf {

enum class LogLevel { Debug, Info, Warning, Error };

// Starts logging to `folder`/longleaf.log (3 files of 2 MiB). Without this call nothing is written.
//   verbose  also everything from Debug up to stderr
// Returns Io when the file cannot be opened; the caller goes on without a log.
Status start_log(const std::filesystem::path& folder, bool verbose);

void log(LogLevel level, std::string_view message);

}  // namespace longleaf
