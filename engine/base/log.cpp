#include "engine/base/log.h"

#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <vector>

namespace longleaf {
namespace {

constexpr size_t kFileBytes = 2 << 20;
constexpr size_t kFiles = 3;

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::Debug:
      return spdlog::level::debug;
    case LogLevel::Info:
      return spdlog::level::info;
    case LogLevel::Warning:
      return spdlog::level::warn;
    case LogLevel::Error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::shared_ptr<spdlog::logger>& logger() {
  static auto instance = std::make_shared<spdlog::logger>("longleaf");  // no sink: silent until start_log
  return instance;
}

}  // namespace

Status start_log(const std::filesystem::path& folder, bool verbose) {
  try {
    std::vector<spdlog::sink_ptr> sinks;
    sinks.push_back(
        std::make_shared<spdlog::sinks::rotating_file_sink_mt>((folder / "longleaf.log").string(), kFileBytes, kFiles));
    if (verbose) sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    auto next = std::make_shared<spdlog::logger>("longleaf", sinks.begin(), sinks.end());
    next->set_level(verbose ? spdlog::level::debug : spdlog::level::info);
    next->set_error_handler([](const std::string&) {});  // a full disk is reported where it matters
    next->flush_on(spdlog::level::info);
    logger() = std::move(next);
    return {};
  } catch (const std::exception& error) {
    return Status(Code::Io, std::string("The log file cannot be opened: ") + error.what());
  }
}

void log(LogLevel level, std::string_view message) {
  logger()->log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

}  // namespace longleaf
