// The card as the functions of the backend table share it: the device, and memory for what lives only between two
// kernels.
#pragma once

#include <memory>

#include "engine/base/thread_pool.h"
#include "kernels/cuda/args.h"
#include "kernels/cuda/product_choice.h"

namespace longleaf::kernels::cuda {

struct Gpu {
  Gpu(std::unique_ptr<Device> card, const DeviceOptions& options)
      : device(std::move(card)),
        activations(*device, moved),
        partial(*device, moved),
        choice(*device, options, moved),
        pool(options.n_threads) {}
  std::unique_ptr<Device> device;
  uint64_t moved = 0;
  // What lives from one kernel to the next: none of them outlives an operation.
  Workspace activations;  // of a product, as its weights want them; tiles of sequences
  Workspace partial;      // results that are joined: of attention, of sums and norms
  ProductChoice choice;   // who multiplies
  ThreadPool pool;        // packs weights
};

inline Gpu& gpu(void* self) { return *static_cast<Gpu*>(self); }

template <typename T>
T* as(DevicePtr p) {
  return reinterpret_cast<T*>(p);
}

inline unsigned pieces(int64_t count, int64_t of) { return static_cast<unsigned>((count + of - 1) / of); }

Status matmul(void* self, std::span<const Product> products, DevicePtr x, int n_tokens);
Status span_attention(void* self, const SpanAttentionArgs& args);

}  // namespace longleaf::kernels::cuda
