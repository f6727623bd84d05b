#include "engine/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace longleaf {
namespace {

Status failed(const char* what, const std::filesystem::path& path, int error) {
  return Status(error == ENOENT ? Code::NotFound : Code::Io,
                "The file " + path.string() + " cannot be " + what + ": " + std::strerror(error));
}

// 0, or the error. A descriptor that cannot be closed has not written all.
int write_all(const char* path, int how, std::string_view bytes) {
  const int file = ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC | how, 0644);
  if (file < 0) return errno;
  int error = 0;
  while (!bytes.empty() && error == 0) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n >= 0)
      bytes.remove_prefix(static_cast<size_t>(n));
    else if (errno != EINTR)
      error = errno;
  }
  if (error == 0 && how != O_APPEND && ::fsync(file) != 0) error = errno;
  if (::close(file) != 0 && error == 0) error = errno;
  return error;
}

}  // namespace

Status write_file(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path part = path.string() + ".part";
  std::error_code ignored;
  if (const int error = write_all(part.c_str(), O_TRUNC, bytes); error != 0) {
    std::filesystem::remove(part, ignored);
    return failed("written", path, error);
  }
  std::error_code error;
  std::filesystem::rename(part, path, error);
  if (!error) return {};
  std::filesystem::remove(part, ignored);
  return failed("written", path, error.value());
}

Status append_to_file(const std::filesystem::path& path, std::string_view bytes) {
  const int error = write_all(path.c_str(), O_APPEND, bytes);
  return error == 0 ? Status() : failed("written", path, error);
}

Result<std::string> read_file(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed("read", path, errno);
  std::string bytes;
  if (struct stat facts{}; ::fstat(file, &facts) == 0 && S_ISREG(facts.st_mode))
    bytes.reserve(static_cast<size_t>(facts.st_size));
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(file, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    const int error = errno;
    if (n <= 0) ::close(file);
    if (n < 0) return failed("read", path, error);
    if (n == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace longleaf
