// Records of a learned memory in a memory file: a memory, what questions are compared to, and the mark of what it was
// made from, by which it is known again. Not thread-safe: one thread owns it.
#pragma once

#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/memory/memory_file.h"
#include "engine/memory/memory_reader.h"

namespace longleaf {

// By mark: memories that need not be made again.
using KnownMemories = std::unordered_map<uint64_t, std::vector<float>>;

constexpr size_t kMarkFloats = 2;  // behind a record's numbers
uint64_t mark_in(std::span<const float> record);

class MemoryRecords {
 public:
  //   marks     of every record of the file
  //   texts     tokens of every record's own text
  //   progress  told of every record that is there, with its number of tokens
  MemoryRecords(MemoryReader& reader, std::vector<uint64_t> marks, std::vector<size_t> texts, MemoryFile& file,
                const std::function<void(size_t)>& progress);

  // Takes what the file has, or is known, and writes what was not in the file.
  Status take(const KnownMemories& known);

  size_t size() const { return values_.size(); }
  bool has(size_t i) const { return !values_[i].empty(); }
  std::span<const float> memory(size_t i) const { return std::span(values_[i]).first(reader_.d_model()); }
  // What it is compared by: (d_routing).
  std::span<const float> key(size_t i) const { return std::span(values_[i]).subspan(reader_.d_model()); }

  // Writes memories that were made, each with what questions are compared to: (n, d_model).
  Status keep(std::span<const size_t> numbers, const std::vector<float>& memories);
  int64_t tokens_made() const { return tokens_; }

 private:
  Status take_one(size_t i, const KnownMemories& known);
  Status add(size_t i, std::vector<float> record);

  MemoryReader& reader_;
  std::vector<uint64_t> marks_;
  std::vector<size_t> texts_;
  MemoryFile& file_;
  const std::function<void(size_t)>& progress_;
  std::vector<std::vector<float>> values_;  // memory and key; empty: not made yet
  int64_t tokens_ = 0;
};

}  // namespace longleaf
