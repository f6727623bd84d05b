// One NVIDIA card: memory, copies and kernels launched by name, in the order they are asked for (one stream).
// Not thread-safe: one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/driver.h"
#include "kernels/cuda/management.h"
#include "kernels/cuda/options.h"

namespace longleaf::kernels::cuda {

struct Card {
  int ordinal = 0;
  std::string name, uuid;  // "GPU-1a2b…", as NVIDIA's tools write it
  size_t memory_bytes = 0;
  int compute = 0;  // capability, 90 for 9.0
  int multiprocessors = 0;
  size_t shared_bytes = 0;  // that a block of threads may have
};

struct Grid {
  unsigned x = 1, y = 1, z = 1;
};

class Device {
 public:
  // Returns Unsupported or NotFound with one sentence that says why there is none and what to do.
  static Result<std::unique_ptr<Device>> open(const DeviceOptions& options);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const Card& card() const { return card_; }
  MemoryInfo memory();

  Result<DevicePtr> allocate(size_t bytes);
  void release(DevicePtr memory);
  // The bytes at `from` may change as soon as this returns.
  Status upload(DevicePtr to, const void* from, size_t bytes);
  // Waits until everything asked for so far is done.
  Status finish();
  // Waits for what came before it.
  Status download(void* to, DevicePtr from, size_t bytes);

  // Starts a kernel that takes one Args by value.
  template <typename Args>
  Status launch(const std::string& kernel, Grid grid, unsigned threads, unsigned shared_bytes, const Args& args) {
    Args copy = args;
    return launch_raw(kernel, grid, threads, shared_bytes, &copy);
  }

  // How long the card takes for what `work` asks for, in milliseconds. Waits for it.
  Result<float> time(const std::function<Status()>& work);
  // For libraries that start kernels of their own, in the order of the others: with the context current.
  Result<Stream> stream();

  // Kernels that `work` starts are put together instead of run; all else ends it with an error.
  Result<GraphExec> record(const std::function<Status()>& work);
  Status replay(GraphExec recording);
  void forget(GraphExec recording);
  bool is_recording() const { return is_recording_; }

 private:
  Status may_be_asked_for() const;
  size_t driver_bytes();
  Device(const Driver& driver, Card card, const DeviceOptions& options);
  Status start(std::span<const void* const> images);
  Status load(std::span<const void* const> images);
  Status attach();
  Status upload_piece(DevicePtr to, const void* from, size_t bytes);
  Status launch_raw(const std::string& kernel, Grid grid, unsigned threads, unsigned shared_bytes, void* args);
  Result<Function> function(const std::string& kernel, unsigned shared_bytes);

  Driver driver_;
  Management management_;
  Card card_;
  size_t limit_bytes_;
  Context context_ = nullptr;
  Stream stream_ = nullptr;
  std::vector<Module> modules_;
  struct Kernel {
    Function function = nullptr;
    unsigned shared_bytes = 0;  // that it may have
  };
  std::unordered_map<std::string, Kernel> kernels_;
  std::unordered_map<DevicePtr, size_t> sizes_;
  MemoryInfo memory_;
  // Uploads go through memory the card reads by itself, one half while the other is filled.
  char* ring_ = nullptr;
  size_t ring_used_ = 0;
  int half_ = 0;
  Event half_read_[2] = {nullptr, nullptr};
  Event timed_[2] = {nullptr, nullptr};
  bool is_recording_ = false;
  size_t driver_bytes_ = 0;
  std::chrono::steady_clock::time_point asked_{};
};

// The cards that are there, also those that cannot be used, and the driver's version (13000 for CUDA 13.0).
struct Cards {
  int driver_version = 0;
  std::vector<Card> cards;
};
Result<Cards> find_cards(const std::string& library = {});

// Why `card` cannot be used with kernels built by this program's compiler; Ok when it can.
Status usable(const Card& card, int driver_version);

}  // namespace longleaf::kernels::cuda
