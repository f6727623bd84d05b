// By what a document is known: its bytes. Any thread.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>

#include "engine/base/status.h"

namespace longleaf {

// SHA-256 of a file's bytes, hexadecimal. NotFound, Invalid (a folder, a pipe), Io, Cancelled.
Result<std::string> file_id(const std::filesystem::path& file, std::stop_token stop = {});

}  // namespace longleaf
