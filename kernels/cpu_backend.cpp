#include "kernels/cpu_backend.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "engine/base/thread_pool.h"
#include "kernels/fast_cpu.h"
#include "kernels/ops_cpu.h"

namespace longleaf::kernels {
namespace {

constexpr size_t kAlignment = 64;  // a cache line, and the widest vector
constexpr int kRowTile = 16;       // weight rows unpacked at a time: 16 x 4096 f32 stay in a 256 KiB cache half
constexpr int kRowTileDecode = 4;
constexpr int kQueryTile = 8;  // query tokens that share one reading of K and V
constexpr int64_t kElementTile = 1 << 14;

struct Cpu {
  explicit Cpu(const CpuOptions& options)
      : pool(options.n_threads), scratch(static_cast<size_t>(pool.n_threads())), limit_bytes(options.limit_bytes) {}
  ThreadPool pool;
  std::vector<std::vector<float>> scratch;  // one per thread
  std::unordered_map<DevicePtr, size_t> sizes;
  MemoryInfo memory;
  size_t limit_bytes;
  const FastOps* ops = nullptr;  // nullptr: the twins

  float* scratch_for(int thread, size_t floats) {
    auto& mine = scratch[static_cast<size_t>(thread)];
    if (mine.size() < floats) mine.resize(floats);
    return mine.data();
  }
};

Cpu& cpu(void* self) { return *static_cast<Cpu*>(self); }
float* floats(DevicePtr p) { return reinterpret_cast<float*>(p); }

Result<DevicePtr> allocate(void* self, size_t bytes) {
  Cpu& c = cpu(self);
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const bool over = c.limit_bytes != 0 && c.memory.used_bytes + rounded > c.limit_bytes;
  void* memory = over || rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr)
    return Status(Code::NoMemory, "There is not enough memory for another " + std::to_string(bytes >> 20) +
                                      " MiB; close other programs or choose a smaller model");
  auto p = static_cast<DevicePtr>(memory);
  c.sizes[p] = rounded;
  c.memory.used_bytes += rounded;
  c.memory.peak_bytes = std::max(c.memory.peak_bytes, c.memory.used_bytes);
  return p;
}

void release(void* self, DevicePtr p) {
  if (p == nullptr) return;
  Cpu& c = cpu(self);
  auto entry = c.sizes.find(p);
  if (entry == c.sizes.end()) return;
  c.memory.used_bytes -= entry->second;
  c.sizes.erase(entry);
  std::free(p);
}

Status upload(void*, DevicePtr to, const void* from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return {};
}

Status download(void*, void* to, DevicePtr from, size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
  return {};
}

// The CPU reads host bytes where they lie; they are counted, because they are memory the model needs.
Result<DevicePtr> adopt(void*, const void* host, size_t) {
  return reinterpret_cast<DevicePtr>(const_cast<void*>(host));
}

MemoryInfo memory(void* self) { return cpu(self).memory; }

Status embed(void*, const Weight& table, DevicePtr ids, int n_tokens, DevicePtr out) {
  twin::embed(table, reinterpret_cast<const int32_t*>(ids), n_tokens, floats(out));
  return {};
}

Status rms_norm(void* self, DevicePtr x, DevicePtr weight, float eps, int rows, int cols, DevicePtr out) {
  cpu(self).pool.parallel_for(rows, 16, [&](int first, int last, int) {
    const int64_t offset = int64_t{first} * cols;
    twin::rms_norm(floats(x) + offset, floats(weight), eps, last - first, cols, floats(out) + offset);
  });
  return {};
}

Status matmul(void* self, const Weight& w, DevicePtr bias, DevicePtr x, int n_tokens, DevicePtr out) {
  if (n_tokens == 0) return {};
  Cpu& c = cpu(self);
  if (c.ops == nullptr) {
    twin::matmul(w, floats(bias), floats(x), n_tokens, floats(out));
    return {};
  }
  const int tile = n_tokens < 4 ? kRowTileDecode : kRowTile;
  const int tiles = (w.rows + tile - 1) / tile;
  const int grain = std::max(1, tiles / (c.pool.n_threads() * 8));
  c.pool.parallel_for(tiles, grain, [&](int begin, int end, int thread) {
    float* scratch = c.scratch_for(thread, static_cast<size_t>(tile) * static_cast<size_t>(w.cols));
    for (int i = begin; i < end; ++i)
      c.ops->matmul_rows(w, floats(bias), floats(x), n_tokens, floats(out), i * tile, std::min(w.rows, (i + 1) * tile),
                         scratch);
  });
  return {};
}

Status rope(void* self, const RopeArgs& args) {
  cpu(self).pool.parallel_for(args.n_tokens, 8, [&](int first, int last, int) { twin::rope(args, first, last); });
  return {};
}

Status kv_write(void*, const KvRowsArgs& args) {
  twin::kv_write(args);
  return {};
}

Status kv_read(void*, const KvRowsArgs& args) {
  twin::kv_read(args);
  return {};
}

Status span_attention(void* self, const SpanAttentionArgs& args) {
  Cpu& c = cpu(self);
  if (c.ops == nullptr) {
    twin::span_attention(args);
    return {};
  }
  const int blocks = (args.n_tokens + kQueryTile - 1) / kQueryTile;
  c.pool.parallel_for(blocks * args.kv.n_kv_heads, 1, [&](int begin, int end, int thread) {
    float* scratch = c.scratch_for(thread, attention_scratch(args, kQueryTile));
    for (int i = begin; i < end; ++i) {
      const int first = i / args.kv.n_kv_heads * kQueryTile;
      c.ops->attend(args, i % args.kv.n_kv_heads, first, std::min(args.n_tokens, first + kQueryTile), scratch);
    }
  });
  return {};
}

Status silu_mul(void* self, DevicePtr gate, DevicePtr up, int64_t n) {
  Cpu& c = cpu(self);
  if (c.ops == nullptr) {
    twin::silu_mul(floats(gate), floats(up), n);
    return {};
  }
  const auto tiles = static_cast<int>((n + kElementTile - 1) / kElementTile);
  c.pool.parallel_for(tiles, 1, [&](int begin, int end, int) {
    c.ops->silu_mul(floats(gate), floats(up), begin * kElementTile, std::min(n, end * kElementTile));
  });
  return {};
}

Status add(void*, DevicePtr x, DevicePtr y, int64_t n) {
  float* to = floats(x);
  const float* from = floats(y);
  for (int64_t i = 0; i < n; ++i) to[i] += from[i];
  return {};
}

Status mean_rows(void*, DevicePtr x, int rows, int cols, DevicePtr out) {
  twin::mean_rows(floats(x), rows, cols, floats(out));
  return {};
}

const FastOps* ops_for(Isa isa) {
#ifdef LONGLEAF_X86
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx512 && (isa == Isa::Best || isa == Isa::Avx512)) return &avx512::fast_ops();
  if (has_avx2 && (isa == Isa::Best || isa == Isa::Avx2)) return &avx2::fast_ops();
#endif
  return isa == Isa::Best || isa == Isa::Baseline ? &baseline::fast_ops() : nullptr;
}

size_t host_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  return pages > 0 && page > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page) : 0;
}

BackendPtr make(const CpuOptions& options, const FastOps* ops) {
  auto* state = new Cpu(options);
  state->ops = ops;
  state->memory.total_bytes = host_memory_bytes();
  BackendPtr backend(new Backend);
  backend->self = state;
  backend->destroy = [](void* self) { delete static_cast<Cpu*>(self); };
  backend->name =
      "CPU, " + std::to_string(state->pool.n_threads()) + " threads, " + (ops != nullptr ? ops->isa : "reference");
  backend->allocate = allocate;
  backend->release = release;
  backend->upload = upload;
  backend->download = download;
  backend->adopt = adopt;
  backend->memory = memory;
  backend->embed = embed;
  backend->rms_norm = rms_norm;
  backend->matmul = matmul;
  backend->rope = rope;
  backend->kv_write = kv_write;
  backend->kv_read = kv_read;
  backend->span_attention = span_attention;
  backend->silu_mul = silu_mul;
  backend->add = add;
  backend->mean_rows = mean_rows;
  return backend;
}

}  // namespace

BackendPtr make_cpu_backend(const CpuOptions& options) {
  const FastOps* ops = ops_for(options.isa);
  return ops != nullptr ? make(options, ops) : nullptr;
}

BackendPtr make_reference_backend() { return make({.isa = Isa::Baseline, .n_threads = 1, .limit_bytes = 0}, nullptr); }

}  // namespace longleaf::kernels
