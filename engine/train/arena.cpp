#include "engine/train/arena.h"

#include <algorithm>

namespace longleaf::train {
namespace {
constexpr size_t kAlignment = 64;
}  // namespace

Result<kernels::DevicePtr> Arena::take(size_t bytes) {
  const size_t wanted = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  while (chunk_ < chunks_.size() && used_ + wanted > chunks_[chunk_].bytes()) {
    if (used_ == 0 && chunks_[chunk_].bytes() < wanted) {  // too small for this, and nothing is in it
      chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(chunk_));
      continue;
    }
    ++chunk_, used_ = 0;
  }
  if (chunk_ == chunks_.size()) {
    LL_ASSIGN_OR_RETURN(kernels::Buffer chunk, kernels::Buffer::allocate(backend_, std::max(wanted, kChunkBytes)));
    chunks_.push_back(std::move(chunk));
    used_ = 0;
  }
  const kernels::DevicePtr p = kernels::at(chunks_[chunk_].data(), used_);
  used_ += wanted;
  return p;
}

size_t Arena::bytes() const {
  size_t sum = 0;
  for (const kernels::Buffer& chunk : chunks_) sum += chunk.bytes();
  return sum;
}

}  // namespace longleaf::train
