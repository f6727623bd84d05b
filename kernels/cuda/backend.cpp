#include "kernels/cuda_backend.h"

#include <new>
#include <vector>

#include "kernels/cuda/gpu.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/planes.h"
#include "kernels/cuda/training.h"
#include "kernels/ops_cpu.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kRowsPacked = 16;  // at a time, by one thread

Result<DevicePtr> allocate(void* self, size_t bytes) { return gpu(self).device->allocate(bytes); }
void release(void* self, DevicePtr memory) { gpu(self).device->release(memory); }
Status upload(void* self, DevicePtr to, const void* from, size_t bytes) {
  return gpu(self).device->upload(to, from, bytes);
}
Status download(void* self, void* to, DevicePtr from, size_t bytes) {
  return gpu(self).device->download(to, from, bytes);
}
MemoryInfo memory(void* self) { return gpu(self).device->memory(); }
Result<double> time(void* self, const std::function<Status()>& work) {
  LL_ASSIGN_OR_RETURN(const float ms, gpu(self).device->time(work));
  return double{ms} / 1000;
}
Status finish(void* self) { return gpu(self).device->finish(); }

// A vector that may be too large for this machine.
template <typename T>
Status resize(std::vector<T>& vector, size_t n) {
  try {
    vector.resize(n);
  } catch (const std::bad_alloc&) {
    return Status(Code::NoMemory, "There is not enough memory to load; close other programs or choose a smaller model");
  }
  return {};
}

Status embed(void* self, const Weight& table, const int32_t* ids, int n_tokens, DevicePtr out) {
  std::vector<float> rows;
  LL_RETURN_IF_ERROR(resize(rows, static_cast<size_t>(n_tokens) * static_cast<size_t>(table.cols)));
  twin::embed(table, ids, n_tokens, rows.data());
  return gpu(self).device->upload(out, rows.data(), rows.size() * sizeof(float));
}

Status rms_norm(void* self, DevicePtr x, DevicePtr weight, float eps, int rows, int cols, DevicePtr out) {
  return over_rows(self, "rms_norm", rows, cols,
                   NormArgs{as<float>(x), as<float>(weight), nullptr, as<float>(out), eps, cols});
}

Status add_rms_norm(void* self, DevicePtr x, DevicePtr y, float scale, DevicePtr weight, float eps, int rows, int cols,
                    DevicePtr out) {
  return over_rows(self, "add_rms_norm", rows, cols,
                   AddNormArgs{as<float>(x), as<float>(y), as<float>(weight), as<float>(out), scale, eps, cols});
}

Status layer_norm(void* self, DevicePtr x, DevicePtr weight, DevicePtr bias, float eps, int rows, int cols,
                  DevicePtr out) {
  return over_rows(self, "layer_norm", rows, cols,
                   NormArgs{as<float>(x), as<float>(weight), as<float>(bias), as<float>(out), eps, cols});
}

size_t packed_bytes(void*, const Weight& rows) { return planes_bytes(rows.type, rows.rows, rows.cols); }

Status pack(void* self, const Weight& rows, DevicePtr to) {
  std::vector<uint8_t> planes;
  LL_RETURN_IF_ERROR(resize(planes, packed_bytes(self, rows)));
  gpu(self).pool.parallel_for(rows.rows, kRowsPacked,
                              [&](int first, int last, int) { pack_planes(rows, first, last, planes.data()); });
  return gpu(self).device->upload(to, planes.data(), planes.size());
}

Status rope(void* self, const RopeArgs& a) {
  if (a.n_tokens == 0 || a.rope_dims == 0) return {};
  return gpu(self).device->launch("rope", {static_cast<unsigned>(a.n_tokens)}, kThreads, 0,
                                  RotateArgs{as<float>(a.x), as<int32_t>(a.positions), as<float>(a.inv_freq), a.n_heads,
                                             a.head_dim, a.rope_dims / 2, a.style, a.magnitude});
}

Status kv_rows(void* self, const char* kernel, const KvRowsArgs& a) {
  if (a.rows() == 0) return {};
  const Grid grid{static_cast<unsigned>(a.n_tokens), static_cast<unsigned>(a.kv.n_kv_heads),
                  static_cast<unsigned>(a.n_layers)};
  return gpu(self).device->launch(
      kernel, grid, 64, 0,
      KvArgs{a.kv, as<void>(a.k), as<void>(a.v), a.rows_stride, a.type, a.first_key, as<int32_t>(a.base_key)});
}
Status kv_write(void* self, const KvRowsArgs& args) { return kv_rows(self, "kv_write", args); }
Status kv_read(void* self, const KvRowsArgs& args) { return kv_rows(self, "kv_read", args); }

Status gate(void* self, Activation activation, DevicePtr gate, DevicePtr up, int64_t n) {
  return over_numbers(self, "gate", n, GateArgs{as<float>(gate), as<float>(up), n, activation});
}
Status add(void* self, DevicePtr x, DevicePtr y, float factor, int64_t n) {
  return over_numbers(self, "add", n, AddArgs{as<float>(x), as<float>(y), n, factor});
}
Status scale(void* self, DevicePtr x, float factor, int64_t n) {
  return over_numbers(self, "scale", n, ScaleArgs{as<float>(x), n, factor});
}

Status gather_rows(void* self, DevicePtr x, DevicePtr ids, int n, int cols, DevicePtr out) {
  return over_rows(self, "gather_rows", n, cols,
                   RowsArgs{as<float>(x), as<int32_t>(ids), nullptr, as<float>(out), cols});
}

Status scatter_add(void* self, DevicePtr rows, DevicePtr ids, DevicePtr weights, int n, int cols, DevicePtr x) {
  return over_rows(self, "scatter_add", n, cols,
                   RowsArgs{as<float>(rows), as<int32_t>(ids), as<float>(weights), as<float>(x), cols});
}

Status best(void* self, DevicePtr x, int rows, int cols, DevicePtr out) {
  constexpr unsigned kBestThreads = 512;  // a row may be all of a vocabulary
  if (rows == 0) return {};
  const unsigned threads = std::clamp(pieces(cols, kWarp) * kWarp, kWarp, kBestThreads);
  return gpu(self).device->launch("best", {static_cast<unsigned>(rows)}, threads, 0,
                                  BestArgs{as<float>(x), as<int32_t>(out), cols});
}

Status top(void* self, const TopArgs& a) {
  constexpr unsigned kTopThreads = 1024;
  assert(a.k > 0 && a.k <= kMostTop);
  if (a.rows == 0) return {};
  const unsigned threads = std::clamp(pieces(a.cols, kWarp) * kWarp, kWarp, kTopThreads);
  return gpu(self).device->launch("top", {static_cast<unsigned>(a.rows)}, threads, 0,
                                  TopKernelArgs{as<float>(a.x), as<float>(a.values), as<int32_t>(a.ids),
                                                as<double>(a.sums), a.cols, a.k, a.temperature});
}

Result<void*> record(void* self, const std::function<Status()>& work) {
  LL_ASSIGN_OR_RETURN(const GraphExec recording, gpu(self).device->record(work));
  return static_cast<void*>(recording);
}
Status replay(void* self, void* recording) { return gpu(self).device->replay(static_cast<GraphExec>(recording)); }
void forget(void* self, void* recording) { gpu(self).device->forget(static_cast<GraphExec>(recording)); }
uint64_t moved(void* self) { return gpu(self).moved; }

Status mean_rows(void* self, DevicePtr x, int rows, int cols, DevicePtr out) {
  return gpu(self).device->launch("mean_rows", {pieces(cols, kThreads)}, kThreads, 0,
                                  MeanArgs{as<float>(x), as<float>(out), rows, cols});
}

}  // namespace

Result<DevicePtr> Workspace::at_least(size_t bytes) {
  if (bytes <= bytes_) return memory_;
  if (device_.is_recording()) return Status(Code::Unsupported, "Memory cannot grow in what is recorded");
  ++moved_;
  device_.release(memory_);
  memory_ = nullptr;
  bytes_ = 0;
  LL_ASSIGN_OR_RETURN(memory_, device_.allocate(bytes));
  bytes_ = bytes;
  return memory_;
}

}  // namespace longleaf::kernels::cuda

namespace longleaf::kernels {

Result<BackendPtr> make_cuda_backend(const cuda::DeviceOptions& options) {
  LL_ASSIGN_OR_RETURN(auto device, cuda::Device::open(options));
  BackendPtr backend(new Backend);
  backend->destroy = [](void* self) { delete static_cast<cuda::Gpu*>(self); };
  const cuda::Card& card = device->card();
  backend->name = card.name + ", " + std::to_string((card.memory_bytes + (size_t{1} << 29)) >> 30) + " GiB";
  backend->uuid = card.uuid;
  backend->batch_tokens = kCudaBatchTokens;
  backend->self = new cuda::Gpu(std::move(device), options);
  backend->allocate = cuda::allocate;
  backend->release = cuda::release;
  backend->upload = cuda::upload;
  backend->download = cuda::download;
  backend->memory = cuda::memory;
  backend->finish = cuda::finish;
  backend->time = cuda::time;
  backend->embed = cuda::embed;
  backend->rms_norm = cuda::rms_norm;
  backend->add_rms_norm = cuda::add_rms_norm;
  backend->layer_norm = cuda::layer_norm;
  backend->packed_bytes = cuda::packed_bytes;
  backend->pack = cuda::pack;
  backend->matmul = cuda::matmul;
  backend->rope = cuda::rope;
  backend->kv_write = cuda::kv_write;
  backend->kv_read = cuda::kv_read;
  backend->span_attention = cuda::span_attention;
  backend->gate = cuda::gate;
  backend->add = cuda::add;
  backend->scale = cuda::scale;
  backend->gather_rows = cuda::gather_rows;
  backend->scatter_add = cuda::scatter_add;
  backend->best = cuda::best;
  backend->top = cuda::top;
  backend->mean_rows = cuda::mean_rows;
  backend->record = cuda::record;
  backend->replay = cuda::replay;
  backend->forget = cuda::forget;
  backend->moved = cuda::moved;
  backend->training = &cuda::training_ops();
  return backend;
}

}  // namespace longleaf::kernels
