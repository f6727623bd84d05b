// A file's bytes in memory, read only. What cannot be read any more, because the file was cut short meanwhile or its
// disk is gone, reads as zeros, and the file says so: the system would end the program. Const methods: any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "engine/base/status.h"

namespace longleaf {

class MappedFile {
 public:
  // Returns NotFound, Invalid for what is no file, Corrupt for an empty one, NoMemory.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return bytes_; }
  bool is_whole() const;  // false once something could not be read
  // Lets go of pages of `part`, if it is a part of this file; they come back when read.
  void release(std::span<const uint8_t> part) const;

 private:
  explicit MappedFile(std::span<const uint8_t> bytes);
  std::span<const uint8_t> bytes_;
  int watch_ = -1;  // where losses are noted; -1: there was no place left
};

}  // namespace longleaf
