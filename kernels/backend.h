// The backend table: everything the engine may ask of a compute device. One table per kind of device; the engine
// never touches device memory but through it.
// Not thread-safe: one thread owns a backend. Operations run in the order they were asked for and may return before
// they are done; download waits for what came before it.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "engine/base/status.h"
#include "kernels/span_attention.h"
#include "kernels/training.h"
#include "kernels/types.h"

namespace longleaf::kernels {

struct MemoryInfo {
  size_t used_bytes = 0;  // what this process has allocated through the backend
  size_t peak_bytes = 0;
  size_t total_bytes = 0;  // of the device
  size_t free_bytes = 0;   // of a card's, that may still be taken, as far as the driver says
  size_t other_bytes =
      0;  // of a card's, that other programs have; where NVML is not there, also what the driver has for this one
};

struct Product {
  PackedWeight w;
  DevicePtr bias = nullptr;  // f32 (w.rows), or nullptr
  DevicePtr out = nullptr;   // f32 (n_tokens, w.rows)
};

struct RopeArgs {
  DevicePtr x = nullptr;          // (n_tokens, n_heads, head_dim) f32, rotated in place
  DevicePtr positions = nullptr;  // i32 (n_tokens)
  DevicePtr inv_freq = nullptr;   // f32 (rope_dims / 2)
  int n_tokens = 0, n_heads = 0, head_dim = 0;
  int rope_dims = 0;
  RopeStyle style = RopeStyle::Adjacent;
  float magnitude = 1;  // that rotated numbers are scaled by
};

constexpr int kMostTokens = 65535;

// The k largest numbers of every row, largest first, of equal ones the first; and what a softmax over the row divides
// by. NaN and minus infinity are no numbers; where these run out, ids are -1 and values minus infinity.
constexpr int kMostTop = 1024;
struct TopArgs {
  DevicePtr x = nullptr;       // f32 (rows, cols)
  DevicePtr values = nullptr;  // f32 (rows, k)
  DevicePtr ids = nullptr;     // i32 (rows, k): columns
  DevicePtr sums = nullptr;    // f64 (rows): of exp((x - largest) / temperature); nullptr: not wanted
  int rows = 0, cols = 0;
  int k = 0;              // from 1 to kMostTop
  float temperature = 1;  // above 0; sums of rows whose largest number is infinite have no meaning
};

// Up to so many tokens at a time no device's results depend on how many there are. CPUs keep that for any number.
constexpr int kSameBits = 8;

// Parts that keys may be split into for so few tokens, each of which keeps what it found until all are joined.
constexpr int kMostKeySplits = 64;

// A table of functions, filled by a device (cpu_backend.cpp, cuda/backend.cpp). `self` is the device's own state.
// All matrices are row-major f32 unless said otherwise; outputs must not overlap inputs unless "in place".
// n_tokens == 0 is allowed everywhere and does nothing; more than kMostTokens nowhere.
struct Backend {
  void* self = nullptr;
  void (*destroy)(void* self) = nullptr;
  std::string name;             // for people: "CPU, 8 threads, AVX-512"
  std::string uuid;             // of a card; empty for a processor
  int batch_tokens = 0;         // that are best computed at once
  bool in_host_memory = false;  // a DevicePtr is an address of this process: nothing need be copied to be used

  // Memory. allocate returns NoMemory; contents are undefined. release accepts nullptr.
  Result<DevicePtr> (*allocate)(void* self, size_t bytes);
  void (*release)(void* self, DevicePtr memory);
  Status (*upload)(void* self, DevicePtr to, const void* from, size_t bytes);
  Status (*download)(void* self, void* to, DevicePtr from, size_t bytes);
  MemoryInfo (*memory)(void* self);
  // Waits until everything asked for so far is done.
  Status (*finish)(void* self);
  // How long the device takes for what `work` asks for, in seconds, and waits for it.
  Result<double> (*time)(void* self, const std::function<Status()>& work);

  // out (n_tokens, table.cols): rows of `table` named by ids (n_tokens), in host memory as the table is: a few rows per
  // token need no second copy of the largest tensor on the device. REQUIRES: 0 <= id < table.rows.
  Status (*embed)(void* self, const Weight& table, const int32_t* ids, int n_tokens, DevicePtr out);
  // out = x / sqrt(mean(x²) + eps) * weight, row by row; weight f32 (cols). In place allowed.
  Status (*rms_norm)(void* self, DevicePtr x, DevicePtr weight, float eps, int rows, int cols, DevicePtr out);
  // x += scale * y, then out = rms_norm(x), with the bits of the two one after the other; `out` may be y.
  Status (*add_rms_norm)(void* self, DevicePtr x, DevicePtr y, float scale, DevicePtr weight, float eps, int rows,
                         int cols, DevicePtr out);
  // out = (x - mean) / sqrt(variance + eps) * weight + bias, row by row; weight and bias f32 (cols). In place allowed.
  // Layer normalisation: Ba et al., arXiv 1607.06450.
  Status (*layer_norm)(void* self, DevicePtr x, DevicePtr weight, DevicePtr bias, float eps, int rows, int cols,
                       DevicePtr out);
  // Bytes that `pack` fills for a weight of this shape; `rows.data` is not looked at.
  size_t (*packed_bytes)(void* self, const Weight& rows);
  // Turns a weight into what matmul reads, at `to`.
  Status (*pack)(void* self, const Weight& rows, DevicePtr to);
  // For every product p: p.out (n_tokens, p.w.rows) = x (n_tokens, cols) · p.wᵀ + p.bias. All have the same cols.
  // For weights in block formats, x is first rounded to 8 bits: per token and block of 32 columns, to multiples of
  // max|x|/127; for BF16 weights to bfloat16, half to even. Batching changes no bit: each output is summed in the same
  // order whatever n_tokens is; on a GPU, whatever it is up to kSameBits, and in other orders above, where for F16
  // weights each token's x is rounded to halves, times a power of two of its own.
  Status (*matmul)(void* self, std::span<const Product> products, DevicePtr x, int n_tokens);
  Status (*rope)(void* self, const RopeArgs& args);
  // What an F16 store cannot hold becomes the largest number it can.
  Status (*kv_write)(void* self, const KvRowsArgs& args);
  Status (*kv_read)(void* self, const KvRowsArgs& args);
  // Batching changes no bit here either; nor does how adjacent spans of equal shift are cut, after merging. A GPU may
  // round queries and weights, and what an 8-bit store stands for, to halves for more than kSameBits tokens over a
  // store that is not F32; and a value that is infinite or none may there reach queries that do not see its key.
  Status (*span_attention)(void* self, const SpanAttentionArgs& args);
  // gate = activation(gate) * up, in place; n values. up: nullptr for activation(gate) alone.
  Status (*gate)(void* self, Activation activation, DevicePtr gate, DevicePtr up, int64_t n);
  // x += scale * y, in place; n values.
  Status (*add)(void* self, DevicePtr x, DevicePtr y, float scale, int64_t n);
  // x *= factor, in place; n values. Times 0 is 0, whatever was there.
  Status (*scale)(void* self, DevicePtr x, float factor, int64_t n);
  // out (n, cols) = rows of x named by ids i32 (n).
  Status (*gather_rows)(void* self, DevicePtr x, DevicePtr ids, int n, int cols, DevicePtr out);
  // x[ids[i]] += weights[i] * rows[i] for i = 0 … n-1, in place: rows (n, cols), ids i32 (n) all different,
  // weights f32 (n).
  Status (*scatter_add)(void* self, DevicePtr rows, DevicePtr ids, DevicePtr weights, int n, int cols, DevicePtr x);
  // out i32 (rows): where in a row of x (rows, cols) its largest number is, of equal ones the first; NaN is none, and a
  // row without numbers gives 0. REQUIRES: cols > 0.
  Status (*best)(void* self, DevicePtr x, int rows, int cols, DevicePtr out);
  Status (*top)(void* self, const TopArgs& args);
  // out (cols) = mean of rows [0, rows) of x (rows, cols). REQUIRES: rows > 0.
  Status (*mean_rows)(void* self, DevicePtr x, int rows, int cols, DevicePtr out);

  // Launches that are asked for again and again with the same arguments, as one: a CUDA graph. nullptr: this device has
  // no use for it. `record` calls `work` once, which asks for operations alone; nothing is computed, and what may not
  // be recorded (allocating, copying, waiting, memory among operations that has to grow) ends it with an error.
  // `replay` computes them as if they were asked for anew, as long as the memory they name is where it was and `moved`
  // gives the same number: what operations have among themselves.
  Result<void*> (*record)(void* self, const std::function<Status()>& work) = nullptr;
  Status (*replay)(void* self, void* recording) = nullptr;
  void (*forget)(void* self, void* recording) = nullptr;
  uint64_t (*moved)(void* self) = nullptr;

  const TrainingOps* training = nullptr;  // nullptr: this device cannot train
};

struct BackendDeleter {
  void operator()(Backend* backend) const {
    backend->destroy(backend->self);
    delete backend;
  }
};
using BackendPtr = std::unique_ptr<Backend, BackendDeleter>;

// Device memory with one owner; empty after a move.
class Buffer {
 public:
  Buffer() = default;
  static Result<Buffer> allocate(const Backend& backend, size_t bytes) {
    auto memory = backend.allocate(backend.self, bytes);
    if (!memory.ok()) return memory.status();
    Buffer buffer;
    buffer.backend_ = &backend;
    buffer.data_ = *memory;
    buffer.bytes_ = bytes;
    return buffer;
  }
  ~Buffer() { reset(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }

  DevicePtr data() const { return data_; }
  size_t bytes() const { return bytes_; }
  void reset() {
    if (backend_ != nullptr) backend_->release(backend_->self, data_);
    backend_ = nullptr;
    data_ = nullptr;
    bytes_ = 0;
  }

 private:
  void swap(Buffer& other) {
    std::swap(backend_, other.backend_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  const Backend* backend_ = nullptr;
  DevicePtr data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace longleaf::kernels
