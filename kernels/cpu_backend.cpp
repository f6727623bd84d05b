#include "kernels/cpu_backend.h"

#include <sys/mman.h>
#include <unistd.h>
#ifdef LONGLEAF_X86
#include <cpuid.h>
#endif
#ifdef LONGLEAF_ARM
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <chrono>
#include <cstdlib>
#include <cstring>

#include "kernels/cpu_device.h"
#include "kernels/ops_cpu.h"
#include "kernels/panels.h"

namespace longleaf::kernels {
namespace {

constexpr size_t kAlignment = 64;  // a cache line, and the widest vector
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int kPanelsPacked = 8;     // at a time, by one thread
constexpr int kPiecesPerThread = 8;  // of a matrix product: what the fastest thread may take over from the slowest
constexpr int kTokensWritten = 16;   // to a KV store at a time, by one thread
constexpr int kRowsNormed = 16;

void* allocate_aligned(size_t alignment, size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes) != 0) return nullptr;
#ifdef MADV_HUGEPAGE
  if (alignment == kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);  // a hint: weights are read from end to end
#endif
  return memory;
}

Result<DevicePtr> allocate(void* self, size_t bytes) {
  Cpu& c = cpu(self);
  const size_t alignment = bytes >= kHugePage ? kHugePage : kAlignment;
  const size_t rounded = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  const bool over = c.limit_bytes != 0 && c.memory.used_bytes + rounded > c.limit_bytes;
  void* memory = over || rounded < bytes ? nullptr : allocate_aligned(alignment, rounded);
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

MemoryInfo memory(void* self) { return cpu(self).memory; }

Result<double> time(void*, const std::function<Status()>& work) {
  const auto start = std::chrono::steady_clock::now();
  LL_RETURN_IF_ERROR(work());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Status finish(void*) { return {}; }

Status embed(void*, const Weight& table, const int32_t* ids, int n_tokens, DevicePtr out) {
  twin::embed(table, ids, n_tokens, floats(out));
  return {};
}

Status rms_norm(void* self, DevicePtr x, DevicePtr weight, float eps, int rows, int cols, DevicePtr out) {
  const auto norm = cpu(self).ops == nullptr ? twin::rms_norm : cpu(self).ops->rms_norm;
  cpu(self).pool.parallel_for(rows, kRowsNormed, [&](int first, int last, int) {
    const int64_t offset = int64_t{first} * cols;
    norm(floats(x) + offset, floats(weight), eps, last - first, cols, floats(out) + offset);
  });
  return {};
}

Status add_rms_norm(void* self, DevicePtr x, DevicePtr y, float scale, DevicePtr weight, float eps, int rows, int cols,
                    DevicePtr out) {
  Cpu& c = cpu(self);
  c.pool.parallel_for(rows, kRowsNormed, [&](int first, int last, int) {
    const int64_t begin = int64_t{first} * cols, end = int64_t{last} * cols;
    if (c.ops == nullptr) {
      twin::add(floats(x) + begin, floats(y) + begin, scale, end - begin);
      twin::rms_norm(floats(x) + begin, floats(weight), eps, last - first, cols, floats(out) + begin);
    } else {
      c.ops->add(floats(x), floats(y), scale, begin, end);
      c.ops->rms_norm(floats(x) + begin, floats(weight), eps, last - first, cols, floats(out) + begin);
    }
  });
  return {};
}

Status layer_norm(void* self, DevicePtr x, DevicePtr weight, DevicePtr bias, float eps, int rows, int cols,
                  DevicePtr out) {
  const auto norm = cpu(self).ops == nullptr ? twin::layer_norm : cpu(self).ops->layer_norm;
  cpu(self).pool.parallel_for(rows, kRowsNormed, [&](int first, int last, int) {
    const int64_t offset = int64_t{first} * cols;
    norm(floats(x) + offset, floats(weight), floats(bias), eps, last - first, cols, floats(out) + offset);
  });
  return {};
}

size_t packed_bytes(void* self, const Weight& rows) {
  return cpu(self).ops == nullptr ? row_bytes(rows.type, rows.cols) * static_cast<size_t>(rows.rows)
                                  : panel_bytes(rows);
}

Status pack(void* self, const Weight& rows, DevicePtr to) {
  if (cpu(self).ops == nullptr) return upload(self, to, rows.data, packed_bytes(self, rows));
  const size_t stride = bytes_per_panel(rows.type, rows.cols);
  auto* panels = reinterpret_cast<uint8_t*>(to);
  cpu(self).pool.parallel_for(panel_count(rows.rows), kPanelsPacked, [&](int begin, int end, int) {
    for (int i = begin; i < end; ++i) pack_panel(rows, i, panels + static_cast<size_t>(i) * stride);
  });
  return {};
}

// The activations of the product under way, for weights of one kind.
Result<Activations> prepare(Cpu& c, const float* x, int cols, int n_tokens, bool quantized) {
  const auto n = static_cast<size_t>(n_tokens) * static_cast<size_t>(cols);
  const size_t blocks = n / kBlockCols;
  std::vector<float>& memory = quantized ? c.codes : c.plain;
  const size_t needed = quantized ? n / 4 + 7 * blocks : n;
  LL_RETURN_IF_ERROR(c.grow({&memory, 1}, needed));
  Activations a;
  if (quantized) {
    a.scales = memory.data();
    a.sums = reinterpret_cast<int32_t*>(a.scales + blocks);
    a.minima = a.scales + 2 * blocks;
    a.half_minima = a.scales + 3 * blocks;
    a.half_sums = a.sums + 4 * blocks;
    a.codes = reinterpret_cast<int8_t*>(a.scales + 7 * blocks);
  } else {
    a.floats = memory.data();
  }
  const int tile = c.ops->tile_tokens, tiles = (n_tokens + tile - 1) / tile;
  c.pool.parallel_for(tiles, 1, [&](int begin, int end, int) {
    c.ops->prepare_activations(x, cols, begin * tile, std::min(n_tokens, end * tile), quantized, a);
  });
  return a;
}

// … rounded to bfloat16.
Result<uint32_t*> prepare_bfloat(Cpu& c, const float* x, int cols, int n_tokens) {
  LL_RETURN_IF_ERROR(c.grow({&c.rounded, 1}, static_cast<size_t>(n_tokens) * static_cast<size_t>(cols)));
  auto* words = reinterpret_cast<uint32_t*>(c.rounded.data());
  const int tile = c.ops->tile_tokens, tiles = (n_tokens + tile - 1) / tile;
  c.pool.parallel_for(tiles, 1, [&](int begin, int end, int) {
    c.ops->prepare_bfloat(x, cols, begin * tile, std::min(n_tokens, end * tile), words);
  });
  return words;
}

void multiply_one(const FastOps& ops, const Product& p, const Activations& a, int n_tokens, int begin, int end,
                  uint8_t* scratch) {
  if (p.w.type == DType::BF16)
    ops.matmul_bfloat(p.w, floats(p.bias), a, n_tokens, floats(p.out), begin, end);
  else
    ops.matmul_panels(p.w, floats(p.bias), a, n_tokens, floats(p.out), begin, end, scratch);
}

// Panels of all products, one after another: one loop for all threads.
void multiply_panels(Cpu& c, std::span<const Product> products, const Activations& a, int n_tokens) {
  int panels = 0;
  for (const Product& p : products) panels += panel_count(p.w.rows);
  const int grain = std::max(2, panels / (c.pool.n_threads() * kPiecesPerThread) / 2 * 2);  // pairs stay together
  c.pool.parallel_for(panels, grain, [&](int begin, int end, int thread) {
    auto* scratch = reinterpret_cast<uint8_t*>(c.scratch_for(thread));
    for (const Product& p : products) {
      const int own = panel_count(p.w.rows), last = std::min(end, own);
      if (begin < last) multiply_one(*c.ops, p, a, n_tokens, std::max(begin, 0), last, scratch);
      begin -= own;
      end -= own;
    }
  });
}

Status matmul(void* self, std::span<const Product> products, DevicePtr x, int n_tokens) {
  if (n_tokens == 0 || products.empty()) return {};
  Cpu& c = cpu(self);
  if (c.ops == nullptr) {
    for (const Product& p : products) twin::matmul(p.w, floats(p.bias), floats(x), n_tokens, floats(p.out));
    return {};
  }
  Activations a;
  bool has_codes = false, has_bfloats = false, has_floats = false;
  for (const Product& p : products)
    (is_quantized(p.w.type) ? has_codes : p.w.type == DType::BF16 ? has_bfloats : has_floats) = true;
  if (has_codes) {
    LL_ASSIGN_OR_RETURN(a, prepare(c, floats(x), products[0].w.cols, n_tokens, true));
    if (n_tokens >= c.ops->tile_tokens) LL_RETURN_IF_ERROR(c.reserve_scratch(matmul_scratch(products[0].w.cols) / 4));
  }
  if (has_floats) {
    LL_ASSIGN_OR_RETURN(const Activations plain, prepare(c, floats(x), products[0].w.cols, n_tokens, false));
    a.floats = plain.floats;
  }
  if (has_bfloats) {
    LL_ASSIGN_OR_RETURN(a.bfloats, prepare_bfloat(c, floats(x), products[0].w.cols, n_tokens));
  }
  multiply_panels(c, products, a, n_tokens);
  return {};
}

Status rope(void* self, const RopeArgs& args) {
  cpu(self).pool.parallel_for(args.n_tokens, 8, [&](int first, int last, int) { twin::rope(args, first, last); });
  return {};
}

// The first key as a plain number.
template <typename Args>
Args placed(Args args) {
  if (args.base_key != nullptr) args.first_key += *reinterpret_cast<const int32_t*>(args.base_key);
  args.base_key = nullptr;
  return args;
}

Status kv_write(void* self, const KvRowsArgs& asked) {
  const KvRowsArgs args = placed(asked);
  cpu(self).pool.parallel_for(args.rows(), kTokensWritten,
                              [&](int first, int last, int) { twin::kv_write(args, first, last); });
  return {};
}

Status kv_read(void* self, const KvRowsArgs& asked) {
  const KvRowsArgs args = placed(asked);
  cpu(self).pool.parallel_for(args.rows(), kTokensWritten,
                              [&](int first, int last, int) { twin::kv_read(args, first, last); });
  return {};
}

Status span_attention(void* self, const SpanAttentionArgs& asked) {
  const SpanAttentionArgs args = placed(asked);
  Cpu& c = cpu(self);
  if (c.ops == nullptr) {
    twin::span_attention(args);
    return {};
  }
  const int tile = attention_tile(args), blocks = (args.n_tokens + tile - 1) / tile;
  LL_RETURN_IF_ERROR(c.reserve_scratch(attention_scratch(args, tile)));
  c.pool.parallel_for(blocks * args.kv.n_kv_heads, 1, [&](int begin, int end, int thread) {
    float* scratch = c.scratch_for(thread);
    for (int i = begin; i < end; ++i) {
      const int first = i / args.kv.n_kv_heads * tile;
      c.ops->attend(args, i % args.kv.n_kv_heads, first, std::min(args.n_tokens, first + tile), scratch);
    }
  });
  return {};
}

Status gate(void* self, Activation activation, DevicePtr gate, DevicePtr up, int64_t n) {
  Cpu& c = cpu(self);
  if (c.ops == nullptr)
    twin::gate(activation, floats(gate), floats(up), n);
  else
    over_elements(c, n,
                  [&](int64_t first, int64_t last) { c.ops->gate(activation, floats(gate), floats(up), first, last); });
  return {};
}

Status add(void* self, DevicePtr x, DevicePtr y, float scale, int64_t n) {
  Cpu& c = cpu(self);
  if (c.ops == nullptr)
    twin::add(floats(x), floats(y), scale, n);
  else
    over_elements(c, n, [&](int64_t first, int64_t last) { c.ops->add(floats(x), floats(y), scale, first, last); });
  return {};
}

Status scale(void* self, DevicePtr x, float factor, int64_t n) {
  over_elements(cpu(self), n, [&](int64_t first, int64_t last) {
    if (factor == 0)
      std::fill(floats(x) + first, floats(x) + last, 0.0f);
    else
      for (int64_t i = first; i < last; ++i) floats(x)[i] *= factor;
  });
  return {};
}

Status gather_rows(void*, DevicePtr x, DevicePtr ids, int n, int cols, DevicePtr out) {
  twin::gather_rows(floats(x), reinterpret_cast<const int32_t*>(ids), n, cols, floats(out));
  return {};
}

Status scatter_add(void*, DevicePtr rows, DevicePtr ids, DevicePtr weights, int n, int cols, DevicePtr x) {
  twin::scatter_add(floats(rows), reinterpret_cast<const int32_t*>(ids), floats(weights), n, cols, floats(x));
  return {};
}

Status mean_rows(void*, DevicePtr x, int rows, int cols, DevicePtr out) {
  twin::mean_rows(floats(x), rows, cols, floats(out));
  return {};
}

#ifdef LONGLEAF_X86
// What __builtin_cpu_supports does not know in GCC 12 or Clang 14.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & 1u << 4) != 0;
}
#endif

const FastOps* ops_for(Isa isa) {
#ifdef LONGLEAF_X86
  const bool has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512vnni") && has_avx2;
  if (has_avx512 && __builtin_cpu_supports("avx512bf16") && (isa == Isa::Best || isa == Isa::Avx512Bf16)) {
    static const FastOps ops = [] {
      FastOps with_pairs = avx512::fast_ops();
      with_pairs.isa = "AVX-512 VNNI and BF16";
      with_pairs.prepare_bfloat = avx512bf16::prepare_bfloat;
      with_pairs.matmul_bfloat = avx512bf16::matmul_bfloat;
      return with_pairs;
    }();
    return &ops;
  }
  if (has_avx512 && (isa == Isa::Best || isa == Isa::Avx512)) return &avx512::fast_ops();
  if (has_avx2 && has_avx_vnni() && (isa == Isa::Best || isa == Isa::AvxVnni)) return &avxvnni::fast_ops();
  if (has_avx2 && (isa == Isa::Best || isa == Isa::Avx2)) return &avx2::fast_ops();
  if (__builtin_cpu_supports("sse4.2") && (isa == Isa::Best || isa == Isa::Sse42)) return &sse42::fast_ops();
#endif
#ifdef LONGLEAF_ARM
  const bool has_dots = (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
  if (has_dots && (isa == Isa::Best || isa == Isa::NeonDot)) return &neondot::fast_ops();
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
  backend->batch_tokens = kCpuBatchTokens;
  backend->allocate = allocate;
  backend->release = release;
  backend->upload = upload;
  backend->download = download;
  backend->memory = memory;
  backend->finish = finish;
  backend->time = time;
  backend->embed = embed;
  backend->rms_norm = rms_norm;
  backend->add_rms_norm = add_rms_norm;
  backend->layer_norm = layer_norm;
  backend->packed_bytes = packed_bytes;
  backend->pack = pack;
  backend->matmul = matmul;
  backend->rope = rope;
  backend->in_host_memory = true;
  backend->kv_write = kv_write;
  backend->kv_read = kv_read;
  backend->span_attention = span_attention;
  backend->gate = gate;
  backend->add = add;
  backend->scale = scale;
  backend->gather_rows = gather_rows;
  backend->scatter_add = scatter_add;
  backend->best = best;
  backend->top = top;
  backend->mean_rows = mean_rows;
  backend->training = &cpu_training();
  return backend;
}

}  // namespace

BackendPtr make_cpu_backend(const CpuOptions& options) {
  const FastOps* ops = ops_for(options.isa);
  return ops != nullptr ? make(options, ops) : nullptr;
}

BackendPtr make_reference_backend() { return make({.isa = Isa::Baseline, .n_threads = 1, .limit_bytes = 0}, nullptr); }

}  // namespace longleaf::kernels
