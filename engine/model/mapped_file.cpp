#include "engine/model/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>

namespace longleaf {
namespace {

// The files that are mapped, as the signal's handler sees them: numbers only, nothing that could be gone.
struct Watch {
  std::atomic<bool> taken{false}, lost{false};
  std::atomic<uintptr_t> begin{0}, end{0};
};
std::array<Watch, 256> watches;
struct sigaction handler_before;

uintptr_t page_size() {
  static const auto size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// Where a file ends that `at` is in; 0: it is in none. A place that changes hands meanwhile is nobody's.
uintptr_t end_of_file_at(uintptr_t at, Watch*& found) {
  for (Watch& watch : watches) {
    const uintptr_t begin = watch.begin, end = watch.end;
    if (at < begin || at >= end || watch.begin != begin) continue;
    found = &watch;
    return end;
  }
  return 0;
}

// As if we had not been there.
void pass_on(int signal, siginfo_t* info, void* context) {
  if ((handler_before.sa_flags & SA_SIGINFO) != 0) return handler_before.sa_sigaction(signal, info, context);
  if (handler_before.sa_handler != SIG_DFL && handler_before.sa_handler != SIG_IGN)
    return handler_before.sa_handler(signal);
  sigaction(SIGBUS, &handler_before, nullptr);  // it happens again when this returns
}

// A page that cannot be read: zeros take the place of what is left of the file from there on. The system's journal
// reads its files in the same way.
void on_bus_error(int signal, siginfo_t* info, void* context) {
  const auto at = reinterpret_cast<uintptr_t>(info->si_addr);
  Watch* watch = nullptr;
  const uintptr_t end = end_of_file_at(at, watch);
  if (end == 0) return pass_on(signal, info, context);
  const uintptr_t page = at / page_size() * page_size();
  const int error = errno;
  watch->lost = true;  // before anybody can read zeros
  void* zeros = mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  errno = error;
  if (zeros == MAP_FAILED) pass_on(signal, info, context);
}

void watch_bus_errors() {
  static const bool done = [] {
    page_size();
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &handler_before) == 0;
  }();
  (void)done;
}

int watch(std::span<const uint8_t> bytes) {
  watch_bus_errors();
  for (size_t i = 0; i < watches.size(); ++i) {
    if (watches[i].taken.exchange(true)) continue;
    watches[i].lost = false;
    watches[i].end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
    watches[i].begin = reinterpret_cast<uintptr_t>(bytes.data());
    return static_cast<int>(i);
  }
  return -1;
}

void unwatch(int place) {
  if (place < 0) return;
  Watch& watch = watches[static_cast<size_t>(place)];
  watch.begin = 0;
  watch.end = 0;
  watch.taken = false;
}

}  // namespace

MappedFile::MappedFile(std::span<const uint8_t> bytes) : bytes_(bytes), watch_(watch(bytes)) {}

bool MappedFile::is_whole() const { return watch_ < 0 || !watches[static_cast<size_t>(watch_)].lost; }

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

MappedFile::~MappedFile() {
  unwatch(watch_);
  munmap(const_cast<uint8_t*>(bytes_.data()), bytes_.size());
}

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
