// Memory for what lives only between two kernels.
// Not thread-safe: the thread that owns the device.
#pragma once

#include "kernels/cuda/device.h"

namespace longleaf::kernels::cuda {

// Memory of a device that grows when asked and is never given back before its end.
class Workspace {
 public:
  //   moved  counts how often the memory was another one
  Workspace(Device& device, uint64_t& moved) : device_(device), moved_(moved) {}
  ~Workspace() { device_.release(memory_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // At least so many bytes; what was in it is lost. Returns NoMemory.
  Result<DevicePtr> at_least(size_t bytes);

 private:
  Device& device_;
  uint64_t& moved_;
  DevicePtr memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace longleaf::kernels::cuda
