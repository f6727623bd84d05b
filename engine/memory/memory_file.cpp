#include "engine/memory/memory_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "engine/base/checksum.h"

namespace longleaf {
namespace {

constexpr uint32_t kVersion = 1, kNarrowVersion = 2;  // without layers; of version 1, they began on pages, too
constexpr uint64_t kPage = 4096;
constexpr uint64_t kNarrow = 8;  // blobs without layers begin on: there are many, and small ones
constexpr char kMagic[8] = {'L', 'L', 'M', 'E', 'M', 'O', 'R', 'Y'};

struct Header {
  char magic[8];
  uint32_t version, crc;
  uint64_t key;
  uint32_t entries, layers, d_model, row_bytes;
};

uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

Header header_of(const MemoryPlan& plan) {
  Header h{};
  std::memcpy(h.magic, kMagic, sizeof kMagic);
  h.version = plan.n_layers > 0 ? kVersion : kNarrowVersion;
  h.key = plan.key;
  h.entries = static_cast<uint32_t>(plan.entries.size());
  h.layers = static_cast<uint32_t>(plan.n_layers);
  h.d_model = static_cast<uint32_t>(plan.d_model);
  h.row_bytes = static_cast<uint32_t>(plan.row_bytes);
  h.crc = crc32c(&h, sizeof h);
  return h;
}

struct MemorySlot {
  uint64_t offset, bytes;
  uint32_t vector_crc, kv_crc, state, crc;
  uint32_t computed_crc() const {
    MemorySlot copy = *this;
    copy.crc = 0;
    return crc32c(&copy, sizeof copy);
  }
};

}  // namespace

Result<std::unique_ptr<MemoryFile>> MemoryFile::open(const std::filesystem::path& path, MemoryPlan plan) {
  std::unique_ptr<MemoryFile> file(new MemoryFile);
  file->path_ = path;
  file->plan_ = std::move(plan);
  file->lay_out();
  file->stamp_ = stamp_of(path);
  file->fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file->fd_ < 0) return Status(Code::NotFound, "The document has not been encoded for this model");
  LL_RETURN_IF_ERROR(file->load(false));
  return file;
}

Result<std::unique_ptr<MemoryFile>> MemoryFile::open_or_create(const std::filesystem::path& path, MemoryPlan plan) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  std::unique_ptr<MemoryFile> file(new MemoryFile);
  file->path_ = path;
  file->plan_ = std::move(plan);
  file->lay_out();
  file->fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file->fd_ < 0)
    return Status(Code::Io,
                  "The memory file " + path.string() + " cannot be opened for writing: " + std::strerror(errno));
  if (flock(file->fd_, LOCK_EX | LOCK_NB) != 0)
    return Status(Code::Locked, "Another Longleaf is encoding this document; wait for it, or stop it there");
  if (!file->load(true).ok()) LL_RETURN_IF_ERROR(file->begin_anew());
  return file;
}

MemoryFile::~MemoryFile() {
  if (fd_ >= 0) close(fd_);
}

size_t MemoryFile::kv_bytes(size_t entry) const {
  return 2 * static_cast<size_t>(plan_.n_layers) * plan_.entries[entry].tokens.size() * plan_.row_bytes;
}

uint64_t MemoryFile::slot_offset(size_t entry) const { return kPage + entry * sizeof(MemorySlot); }

void MemoryFile::lay_out() {
  const uint64_t unit = plan_.n_layers > 0 ? kPage : kNarrow;
  uint64_t at = kPage + round_up(plan_.entries.size() * sizeof(MemorySlot), kPage);
  for (size_t i = 0; i < plan_.entries.size(); ++i) {
    offsets_.push_back(at);
    at += round_up(static_cast<uint64_t>(plan_.d_model) * 4 + kv_bytes(i), unit);
  }
  file_bytes_ = at;
  done_.assign(plan_.entries.size(), false);
}

Status MemoryFile::load(bool writing) {
  const Status stale(Code::Corrupt,
                     "The memory of this document belongs to another text or model, or is damaged; encode it again");
  Header found{};
  const Header wanted = header_of(plan_);
  if (!read_at(0, &found, sizeof found).ok() || std::memcmp(&found, &wanted, sizeof found) != 0) return stale;
  std::vector<MemorySlot> table(done_.size());
  if (!read_at(slot_offset(0), table.data(), table.size() * sizeof(MemorySlot)).ok()) return stale;
  for (size_t i = 0; i < table.size(); ++i)
    done_[i] = table[i].state == 1 && table[i].crc == table[i].computed_crc() && table[i].offset == offsets_[i];
  // A file cut short keeps what is whole.
  if (writing && ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0) return stale;
  return {};
}

Status MemoryFile::begin_anew() {
  std::fill(done_.begin(), done_.end(), false);
  if (ftruncate(fd_, 0) != 0 || ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0)
    return Status(Code::Io, "There is no room for a memory file of " + std::to_string(file_bytes_ >> 20) + " MiB in " +
                                path_.parent_path().string() + "; free some space and try again");
  const Header header = header_of(plan_);
  return write_at(0, &header, sizeof header);
}

MemoryFile::Stamp MemoryFile::stamp_of(const std::filesystem::path& path) {
  struct stat found {};
  if (stat(path.c_str(), &found) != 0) return {};
  return {found.st_dev, found.st_ino, static_cast<uint64_t>(found.st_size), found.st_mtim.tv_sec,
          found.st_mtim.tv_nsec};
}

bool MemoryFile::is_current() const { return count_done() == done_.size() && stamp_of(path_) == stamp_; }

size_t MemoryFile::count_done() const { return static_cast<size_t>(std::count(done_.begin(), done_.end(), true)); }

Result<std::vector<float>> MemoryFile::read_vector(size_t entry) {
  MemorySlot slot{};
  LL_RETURN_IF_ERROR(read_at(slot_offset(entry), &slot, sizeof slot));
  std::vector<float> vector(static_cast<size_t>(plan_.d_model));
  const Status status = read_at(offsets_[entry], vector.data(), vector.size() * 4);
  if (!status.ok() || crc32c(vector.data(), vector.size() * 4) != slot.vector_crc) {
    done_[entry] = false;
    return Status(Code::Corrupt, "Part of the document's memory is damaged; it will be encoded again");
  }
  return vector;
}

Result<MemoryBlob> MemoryFile::read(size_t entry) {
  MemoryBlob blob;
  LL_ASSIGN_OR_RETURN(blob.vector, read_vector(entry));
  MemorySlot slot{};
  LL_RETURN_IF_ERROR(read_at(slot_offset(entry), &slot, sizeof slot));
  blob.kv.resize(kv_bytes(entry));
  const Status status = read_at(offsets_[entry] + blob.vector.size() * 4, blob.kv.data(), blob.kv.size());
  if (!status.ok() || crc32c(blob.kv.data(), blob.kv.size()) != slot.kv_crc) {
    done_[entry] = false;
    return Status(Code::Corrupt, "Part of the document's memory is damaged; it will be encoded again");
  }
  return blob;
}

Status MemoryFile::write(size_t entry, const MemoryBlob& blob) {
  assert(blob.kv.size() == kv_bytes(entry) && blob.vector.size() == static_cast<size_t>(plan_.d_model));
  const size_t vector_bytes = blob.vector.size() * 4;
  LL_RETURN_IF_ERROR(write_at(offsets_[entry], blob.vector.data(), vector_bytes));
  LL_RETURN_IF_ERROR(write_at(offsets_[entry] + vector_bytes, blob.kv.data(), blob.kv.size()));
  MemorySlot slot{offsets_[entry],
                  vector_bytes + blob.kv.size(),
                  crc32c(blob.vector.data(), vector_bytes),
                  crc32c(blob.kv.data(), blob.kv.size()),
                  1,
                  0};
  slot.crc = slot.computed_crc();
  LL_RETURN_IF_ERROR(write_at(slot_offset(entry), &slot, sizeof slot));
  done_[entry] = true;
  return {};
}

Status MemoryFile::read_at(uint64_t offset, void* to, size_t bytes) const {
  auto* p = static_cast<char*>(to);
  while (bytes > 0) {
    const ssize_t n = pread(fd_, p, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Status(Code::Corrupt, "The memory file " + path_.string() + " ends too early");
    p += n, offset += static_cast<uint64_t>(n), bytes -= static_cast<size_t>(n);
  }
  return {};
}

Status MemoryFile::write_at(uint64_t offset, const void* from, size_t bytes) {
  const auto* p = static_cast<const char*>(from);
  while (bytes > 0) {
    const ssize_t n = pwrite(fd_, p, bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
      return Status(Code::Io, "The disk is full: the memory file " + path_.string() +
                                  " cannot grow; free some space and encode again, it goes on where it stopped");
    if (n <= 0)
      return Status(Code::Io, "The memory file " + path_.string() + " cannot be written: " + std::strerror(errno));
    p += n, offset += static_cast<uint64_t>(n), bytes -= static_cast<size_t>(n);
  }
  return {};
}

namespace {

// Reads and checks what every memory file begins with.
bool read_header(std::ifstream& file, Header& header) {
  if (!file.read(reinterpret_cast<char*>(&header), sizeof header)) return false;
  const uint32_t crc = header.crc;
  header.crc = 0;
  return std::memcmp(header.magic, kMagic, sizeof kMagic) == 0 && crc32c(&header, sizeof header) == crc;
}

bool read_slot(std::ifstream& file, uint64_t entry, MemorySlot& slot) {
  file.seekg(static_cast<std::streamoff>(kPage + entry * sizeof slot));
  return !file.read(reinterpret_cast<char*>(&slot), sizeof slot).fail();
}

}  // namespace

void MemoryFile::find_vectors(const std::filesystem::path& path, size_t n_last,
                              const std::function<bool(std::span<const float>)>& wants,
                              const std::function<void(std::vector<float>)>& take) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  Header header{};
  if (!read_header(file, header) || error || uint64_t{header.d_model} * 4 > size || header.d_model < n_last) return;
  std::vector<float> last(n_last), vector(header.d_model);
  const auto read = [&](uint64_t offset, std::vector<float>& to) {
    file.clear();
    file.seekg(static_cast<std::streamoff>(offset));
    return !file.read(reinterpret_cast<char*>(to.data()), static_cast<std::streamsize>(to.size() * 4)).fail();
  };
  for (uint64_t i = 0; i < header.entries; ++i) {
    MemorySlot slot{};
    if (!read_slot(file, i, slot)) return;
    if (slot.state != 1 || slot.crc != slot.computed_crc()) continue;
    if (!read(slot.offset + (vector.size() - n_last) * 4, last) || !wants(last)) continue;
    if (read(slot.offset, vector) && crc32c(vector.data(), vector.size() * 4) == slot.vector_crc) take(vector);
  }
}

Status verify_memory_file(const std::filesystem::path& path) {
  const Status damaged(Code::Corrupt, "The memory file " + path.filename().string() +
                                          " is damaged; encode its document again, or delete the file");
  std::ifstream file(path, std::ios::binary);
  Header header{};
  if (!read_header(file, header)) return damaged;
  std::vector<char> bytes;
  for (uint64_t i = 0; i < header.entries; ++i) {
    MemorySlot slot{};
    if (!read_slot(file, i, slot)) return damaged;
    if (slot.state == 0 && slot.bytes == 0) continue;  // not encoded yet
    const uint64_t vector_bytes = uint64_t{header.d_model} * 4;
    std::error_code error;
    const bool fits = slot.crc == slot.computed_crc() && slot.bytes >= vector_bytes &&
                      slot.bytes <= std::filesystem::file_size(path, error);
    if (!fits || error) return damaged;
    bytes.resize(slot.bytes);
    file.seekg(static_cast<std::streamoff>(slot.offset));
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) return damaged;
    if (crc32c(bytes.data(), vector_bytes) != slot.vector_crc ||
        crc32c(bytes.data() + vector_bytes, slot.bytes - vector_bytes) != slot.kv_crc)
      return damaged;
  }
  return {};
}

}  // namespace longleaf
