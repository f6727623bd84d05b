// The state of the CPU as a device, for the files that implement it.
// Not thread-safe: the thread that owns the backend.
#pragma once

#include <algorithm>
#include <new>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/base/thread_pool.h"
#include "kernels/cpu_backend.h"
#include "kernels/fast_cpu.h"

namespace longleaf::kernels {

struct Cpu {
  explicit Cpu(const CpuOptions& options)
      : pool(options.n_threads), scratch(static_cast<size_t>(pool.n_threads())), limit_bytes(options.limit_bytes) {}
  ThreadPool pool;
  std::vector<std::vector<float>> scratch;  // one per thread
  std::unordered_map<DevicePtr, size_t> sizes;
  MemoryInfo memory;
  std::vector<float> codes, plain, rounded;  // activations of the product under way: see Activations
  size_t limit_bytes;
  const FastOps* ops = nullptr;  // nullptr: the twins

  // Makes every thread's scratch at least this large. Before a loop: nothing may fail inside one.
  Status reserve_scratch(size_t floats) { return grow(scratch, floats); }
  Status grow(std::span<std::vector<float>> vectors, size_t floats) {
    try {
      for (auto& one : vectors)
        if (one.size() < floats) one.resize(floats);
    } catch (const std::bad_alloc&) {
      return Status(Code::NoMemory,
                    "There is not enough memory to compute; close other programs or choose a smaller model");
    }
    return {};
  }
  float* scratch_for(int thread) { return scratch[static_cast<size_t>(thread)].data(); }
};

inline Cpu& cpu(void* self) { return *static_cast<Cpu*>(self); }
inline float* floats(DevicePtr p) { return reinterpret_cast<float*>(p); }

constexpr int64_t kElementTile = 1 << 14;

// Calls run(first, last) for pieces of [0, n).
template <typename Run>
void over_elements(Cpu& c, int64_t n, const Run& run) {
  const auto tiles = static_cast<int>((n + kElementTile - 1) / kElementTile);
  c.pool.parallel_for(tiles, 1,
                      [&](int begin, int end, int) { run(begin * kElementTile, std::min(n, end * kElementTile)); });
}

// The largest numbers of rows (cpu_top.cpp).
Status best(void* self, DevicePtr x, int rows, int cols, DevicePtr out);
Status top(void* self, const TopArgs& args);

// What the CPU offers for training (cpu_training.cpp).
const TrainingOps& cpu_training();

}  // namespace longleaf::kernels
