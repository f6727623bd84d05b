#include "engine/memory/memory_records.h"

#include <cstring>

namespace longleaf {

using train::Tape;

uint64_t mark_in(std::span<const float> record) {
  uint64_t mark;
  std::memcpy(&mark, record.data() + record.size() - kMarkFloats, sizeof mark);
  return mark;
}

MemoryRecords::MemoryRecords(MemoryReader& reader, std::vector<uint64_t> marks, std::vector<size_t> texts,
                             MemoryFile& file, const std::function<void(size_t)>& progress)
    : reader_(reader),
      marks_(std::move(marks)),
      texts_(std::move(texts)),
      file_(file),
      progress_(progress),
      values_(marks_.size()) {}

Status MemoryRecords::take(const KnownMemories& known) {
  for (size_t i = 0; i < size(); ++i) LL_RETURN_IF_ERROR(take_one(i, known));
  return {};
}

Status MemoryRecords::take_one(size_t i, const KnownMemories& known) {
  if (file_.has(i)) {
    auto there = file_.read_vector(i);
    if (there.ok() && mark_in(*there) == marks_[i]) return add(i, std::move(*there));
  }
  const auto it = known.find(marks_[i]);
  if (it == known.end() || it->second.size() != static_cast<size_t>(file_.plan().d_model)) return {};
  LL_RETURN_IF_ERROR(file_.write(i, {it->second, {}}));
  return add(i, it->second);
}

Status MemoryRecords::add(size_t i, std::vector<float> record) {
  record.resize(record.size() - kMarkFloats);
  values_[i] = std::move(record);
  if (progress_) progress_(texts_[i]);
  return {};
}

Status MemoryRecords::keep(std::span<const size_t> numbers, const std::vector<float>& memories) {
  LL_ASSIGN_OR_RETURN(const auto keys, reader_.on_tape([&](Tape& tape) {
    return reader_.weights().keys(tape, reader_.rows(tape, memories));
  }));
  const size_t width = reader_.d_model(), routing = keys.size() / numbers.size();
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto memory = memories.begin() + static_cast<long>(i * width);
    const auto key = keys.begin() + static_cast<long>(i * routing);
    std::vector<float> record(memory, memory + static_cast<long>(width));
    record.insert(record.end(), key, key + static_cast<long>(routing));
    record.resize(record.size() + kMarkFloats);
    std::memcpy(record.data() + record.size() - kMarkFloats, &marks_[numbers[i]], sizeof(uint64_t));
    LL_RETURN_IF_ERROR(file_.write(numbers[i], {record, {}}));
    tokens_ += static_cast<int64_t>(texts_[numbers[i]]);
    LL_RETURN_IF_ERROR(add(numbers[i], std::move(record)));
  }
  return {};
}

}  // namespace longleaf
