// A stack of device memory for what one training step computes: taken piece by piece, given back all at once down to a
// mark. Chunks are kept, so a step takes no memory that the step before it had.
// Not thread-safe: one thread owns it.
#pragma once

#include <vector>

#include "kernels/backend.h"

namespace longleaf::train {

class Arena {
 public:
  static constexpr size_t kChunkBytes = size_t{16} << 20;  // that memory is taken in

  explicit Arena(const kernels::Backend& backend) : backend_(backend) {}

  struct Mark {
    size_t chunk = 0, used = 0;
  };
  Mark mark() const { return {chunk_, used_}; }
  // Gives back what was taken since the mark.
  void release(Mark mark) { chunk_ = mark.chunk, used_ = mark.used; }

  // Memory aligned to cache lines; contents are undefined. Returns NoMemory.
  Result<kernels::DevicePtr> take(size_t bytes);

  size_t bytes() const;  // of all chunks

 private:
  const kernels::Backend& backend_;
  std::vector<kernels::Buffer> chunks_;
  size_t chunk_ = 0, used_ = 0;  // the chunk that is taken from, and how much of it is taken
};

}  // namespace longleaf::train
