#include "engine/model/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace longleaf {

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not keep us waiting
  if (fd < 0)
    return Status(Code::NotFound, "The model file " + path.string() + " cannot be opened: " + std::strerror(errno));
  struct stat info {};
  const bool is_file = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const auto size = is_file ? static_cast<size_t>(info.st_size) : 0;
  void* mapping = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  close(fd);
  if (!is_file) return Status(Code::Invalid, path.string() + " is not a file; choose a GGUF model file");
  const std::string name = path.filename().string();
  if (size == 0) return Status(Code::Corrupt, "The model file " + name + " is empty; download it again");
  if (mapping == MAP_FAILED) return Status(Code::NoMemory, "The model file " + name + " cannot be mapped into memory");
  return std::shared_ptr<const MappedFile>(new MappedFile({static_cast<const uint8_t*>(mapping), size}));
}

MappedFile::~MappedFile() { munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size()); }

void MappedFile::release(std::span<const uint8_t> part) const {
  if (part.data() < bytes_.data() || part.data() + part.size() > bytes_.data() + bytes_.size()) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const uint8_t* behind = part.data() + part.size();
  const bool is_last = behind == bytes_.data() + bytes_.size();  // the rest of the file's last page is nobody's
  const auto end = (reinterpret_cast<uintptr_t>(behind) + (is_last ? page - 1 : 0)) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace longleaf
