// Files that are whole or not there. Any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "engine/base/status.h"

namespace longleaf {

// Writes beside `path`, waits until the disk has it, and puts it in its place: what stood there stays until then, also
// when the process is killed. Returns NotFound where the folder is missing, Io with the system's reason.
Status write_file(const std::filesystem::path& path, std::string_view bytes);
// Writes behind what the file has; makes it where there is none. Returns as write_file.
Status append_to_file(const std::filesystem::path& path, std::string_view bytes);
// Returns NotFound, Io.
Result<std::string> read_file(const std::filesystem::path& path);

}  // namespace longleaf
