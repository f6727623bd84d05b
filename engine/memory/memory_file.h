// The memory file: everything the engine keeps of one document for one model. Format: FORMAT.md beside this file.
// Not thread-safe: one thread owns an object; several processes may read one file, one may write it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"

namespace longleaf {

// One run of tokens whose KV is kept: entry 0 is the shared prefix, the others are leaves in reading order.
struct MemoryEntry {
  int64_t node = 0;        // 0 for the prefix
  int window = 0;          // leaves of one window were read in one causal pass
  int first_position = 0;  // of its first token in that pass
  std::vector<TokenId> tokens;
};

// What a file is made from. A file with another key is stale.
struct MemoryPlan {
  uint64_t key = 0;
  int n_layers = 0, d_model = 0;
  size_t row_bytes = 0;  // of K (or V) of one token in one layer
  std::vector<MemoryEntry> entries;
};

// What is kept of one entry.
struct MemoryBlob {
  std::vector<float> vector;  // node memory before mean removal, (d_model); zeros for the prefix
  std::vector<uint8_t> kv;    // per layer: K rows (n_tokens, row_bytes), then V rows
};

class MemoryFile {
 public:
  // Opens `path` for reading if it was made from `plan`.
  // Returns NotFound (no file), Corrupt (stale or damaged: make it anew).
  static Result<std::unique_ptr<MemoryFile>> open(const std::filesystem::path& path, MemoryPlan plan);
  // The same for writing; a missing, stale or damaged file is begun anew. Locked when another process writes it.
  static Result<std::unique_ptr<MemoryFile>> open_or_create(const std::filesystem::path& path, MemoryPlan plan);
  ~MemoryFile();
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  const MemoryPlan& plan() const { return plan_; }
  bool has(size_t entry) const { return done_[entry]; }
  size_t count_done() const;
  // Whether all of it is there, and nobody has written to its path since it was opened for reading.
  bool is_current() const;
  uint64_t bytes() const { return file_bytes_; }
  size_t kv_bytes(size_t entry) const;

  // Corrupt when the checksum does not hold; the entry then counts as missing.
  Result<MemoryBlob> read(size_t entry);
  // The vector alone, for routing.
  Result<std::vector<float>> read_vector(size_t entry);
  // Hands `take` the whole vectors of a file, whatever it was made from, of which `wants` wanted the last `n_last`
  // numbers; none where there is no such file.
  static void find_vectors(const std::filesystem::path& path, size_t n_last,
                           const std::function<bool(std::span<const float> last)>& wants,
                           const std::function<void(std::vector<float> vector)>& take);
  // Io, also on a full disk: the entry stays missing.
  Status write(size_t entry, const MemoryBlob& blob);

 private:
  MemoryFile() = default;
  Status load(bool writing);
  Status begin_anew();
  void lay_out();
  uint64_t slot_offset(size_t entry) const;
  Status read_at(uint64_t offset, void* to, size_t bytes) const;
  Status write_at(uint64_t offset, const void* from, size_t bytes);

  // What tells one writing of a file from another.
  struct Stamp {
    uint64_t device = 0, file = 0, bytes = 0;
    int64_t seconds = 0, nanoseconds = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::filesystem::path& path);

  std::filesystem::path path_;
  Stamp stamp_;
  int fd_ = -1;
  MemoryPlan plan_;
  std::vector<uint64_t> offsets_;
  std::vector<bool> done_;
  uint64_t file_bytes_ = 0;
};

// Checks the header, the table and every blob that is there, without knowing what the file was made from.
// Returns Corrupt with a sentence that names the file.
Status verify_memory_file(const std::filesystem::path& path);

}  // namespace longleaf
