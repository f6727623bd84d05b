// Reads entries of a memory file one ahead of whoever takes them: the disk and the checksums work while the device is
// written to. Not thread-safe; while it lives nobody else uses the file.
#pragma once

#include <future>
#include <vector>

#include "engine/memory/memory_file.h"

namespace longleaf {

class EntryReader {
 public:
  //   entries  in the order they are likely to be taken
  EntryReader(MemoryFile& file, std::vector<size_t> entries);

  // As MemoryFile::read; any entry may be taken, those that were named come sooner.
  Result<MemoryBlob> take(size_t entry);

 private:
  void read_ahead();

  MemoryFile& file_;
  std::vector<size_t> entries_;
  size_t next_ = 0;
  std::future<Result<MemoryBlob>> ahead_;  // entries_[next_]; waits for its thread when it goes
};

}  // namespace longleaf
