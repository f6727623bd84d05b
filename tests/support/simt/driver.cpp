// NVIDIA's driver, played by the emulator: the functions that kernels/cuda/driver.h looks for, over host memory and
// fibers. Copies and kernels are done when the call returns. After a kernel that fails every call fails, as a GPU's do.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kernels/cuda/driver.h"
#include "tests/support/simt/entries.h"
#include "tests/support/simt/grid.h"
#include "tests/support/simt/memory.h"
#include "tests/support/simt/settings.h"

using namespace longleaf::kernels::cuda;

extern "C" {
simt::Settings simt_settings;
}

namespace {

constexpr int kInvalidValue = 1, kIllegalAddress = 700, kCaptureUnsupported = 900;
constexpr size_t kGuardBytes = 64;
constexpr unsigned char kGuard = 0xa5;

constexpr unsigned kMostBlocksDown = 65535;       // of a grid, in y and z
constexpr unsigned kPlainSharedBytes = 48 << 10;  // what a kernel may have without asking

int failed_with = 0;                             // sticky
int contexts = 0;                                // that are held
Context current = nullptr;                       // the card's number and one
std::map<const void*, unsigned> allowed_shared;  // kernel → bytes
struct Block {
  size_t bytes;
  Context card;
};
std::map<DeviceAddress, Block> blocks;
std::map<void*, Context> host_blocks;  // that a card may read

// Behind every block stands a guard, so that what is written beyond is found without a sanitizer too. (With one, it is
// found while it happens, and reading too.)
#ifdef __SANITIZE_ADDRESS__
constexpr bool kHasGuards = false;
#else
constexpr bool kHasGuards = true;
#endif

bool is_untouched(DeviceAddress address, size_t bytes) {
  const auto* guard = reinterpret_cast<const unsigned char*>(address) + bytes;
  for (size_t i = 0; kHasGuards && i < kGuardBytes; ++i)
    if (guard[i] != kGuard) return false;
  return true;
}

int fail(int code, const std::string& report) {
  std::snprintf(simt_settings.report, sizeof simt_settings.report, "%s", report.c_str());
  std::fprintf(stderr, "simt: %s\n", report.c_str());
  return failed_with = code;
}

// Counts down; 0 is the call at which it happens.
bool is_due(int& countdown) { return countdown >= 0 && countdown-- == 0; }

Context context_of(DeviceIndex card) { return reinterpret_cast<Context>(static_cast<uintptr_t>(card) + 1); }

// Of the current card, that may be taken.
size_t free_memory() {
  size_t free = simt_settings.memory_bytes;
  if (current == context_of(0)) free -= std::min(free, simt_settings.taken_bytes + simt_settings.context_bytes);
  for (const auto& [address, block] : blocks)
    if (block.card == current) free -= std::min(free, block.bytes);
  return free;
}

// A kernel as it was asked for.
struct Asked {
  const std::pair<const std::string, simt::Entry>* kernel;
  simt::Launch launch;
  std::vector<unsigned char> args;
};
using Launches = std::vector<Asked>;
std::unique_ptr<Launches> captured;  // while a stream is

int run(const Asked& asked) {
  const auto& [name, entry] = *asked.kernel;
  simt::Launch launch = asked.launch;
  launch.seed = simt_settings.seed;
  if (failed_with != 0) return failed_with;
  if (is_due(simt_settings.launches_to_loss)) return fail(kLaunchFailed, "the card is lost at " + name);
  ++simt_settings.launches;
  simt_settings.ms += current == context_of(simt_settings.slow_card) ? 10 : 1;
  const auto allowed = allowed_shared.find(asked.kernel);
  if (launch.shared_bytes > (allowed != allowed_shared.end() ? allowed->second : kPlainSharedBytes))
    return fail(kInvalidValue, name + ": more shared memory than it was allowed");
  const simt::Dim3& grid = launch.grid;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > kMostBlocksDown || grid.z > kMostBlocksDown)
    return fail(kInvalidValue, name + ": a launch that no card takes");
  std::vector<unsigned char> args = asked.args;
  void* parameters[] = {args.data()};
  const std::string report = simt::run(launch, [entry = entry, &parameters] { entry.run(parameters); });
  if (!report.empty()) return fail(kLaunchFailed, name + ": " + report);
  for (const auto& [address, block] : blocks)
    if (!is_untouched(address, block.bytes))
      return fail(kIllegalAddress, name + ": wrote beyond the end of its memory");
  return kSuccess;
}

struct Moment {
  unsigned flags;
  double at;
};
std::map<Moment*, Context> moments;  // events, of a card

// What is done at once: a stream that is captured has no place for it.
bool is_captured() { return captured != nullptr && fail(kCaptureUnsupported, "asked for while recording") != 0; }

}  // namespace

// Whether [address, address + bytes) lies in one block of the current card's memory.
bool simt::is_device_memory(DeviceAddress address, size_t bytes) {
  auto block = blocks.upper_bound(address);
  if (block == blocks.begin()) return false;
  --block;
  return block->second.card == current && address + bytes <= block->first + block->second.bytes;
}

extern "C" {

int cuInit(unsigned) { return simt_settings.init_code; }
int cuDriverGetVersion(int* version) { return *version = simt_settings.driver_version, kSuccess; }
int cuGetErrorName(int code, const char** name) {
  static const std::map<int, const char*> names = {{kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
                                                   {kNoBinaryForGpu, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                                                   {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"},
                                                   {kLaunchFailed, "CUDA_ERROR_LAUNCH_FAILED"}};
  const auto it = names.find(code);
  *name = it != names.end() ? it->second : nullptr;
  return it != names.end() ? kSuccess : kInvalidValue;
}
int cuDeviceGetCount(int* count) { return *count = simt_settings.cards, kSuccess; }
int cuDeviceGet(DeviceIndex* device, int ordinal) { return *device = ordinal, kSuccess; }
int cuDeviceGetName(char* name, int length, DeviceIndex device) {
  std::snprintf(name, static_cast<size_t>(length), "Emulated %d", device);
  return kSuccess;
}
int cuDeviceGetUuid_v2(Uuid* uuid, DeviceIndex device) {
  for (int i = 0; i < 16; ++i) uuid->bytes[i] = static_cast<char>(16 * device + i);
  return kSuccess;
}
int cuDeviceTotalMem_v2(size_t* bytes, DeviceIndex) { return *bytes = simt_settings.memory_bytes, kSuccess; }
int cuDeviceGetAttribute(int* value, int attribute, DeviceIndex) {
  const std::map<int, int> values = {{kMultiprocessors, simt_settings.multiprocessors},
                                     {kComputeMajor, simt_settings.compute / 10},
                                     {kComputeMinor, simt_settings.compute % 10},
                                     {kMostSharedBytes, static_cast<int>(simt_settings.shared_bytes)}};
  const auto it = values.find(attribute);
  if (it == values.end()) return kInvalidValue;
  return *value = it->second, kSuccess;
}

int cuDevicePrimaryCtxRetain(Context* context, DeviceIndex device) {
  ++contexts;
  *context = context_of(device);
  return kSuccess;
}
int cuDevicePrimaryCtxRelease_v2(DeviceIndex) {
  if (--contexts == 0) failed_with = 0;  // the next context is a new one
  return kSuccess;
}
int cuDevicePrimaryCtxReset_v2(DeviceIndex device) {
  const Context card = context_of(device);
  for (const auto& [address, block] : blocks)
    if (block.card == card) std::free(reinterpret_cast<void*>(address));
  for (const auto& [memory, owner] : host_blocks)
    if (owner == card) std::free(memory);
  for (const auto& [moment, owner] : moments)
    if (owner == card) delete moment;
  std::erase_if(moments, [card](const auto& entry) { return entry.second == card; });
  std::erase_if(blocks, [card](const auto& entry) { return entry.second.card == card; });
  std::erase_if(host_blocks, [card](const auto& entry) { return entry.second == card; });
  failed_with = 0;
  return kSuccess;
}
int cuCtxSetCurrent(Context context) {
  current = context;
  return kSuccess;
}

int cuModuleLoadData(Module* module, const void*) {
  *module = reinterpret_cast<Module>(&blocks);
  return failed_with;
}
int cuModuleUnload(Module) { return failed_with; }
int cuModuleGetFunction(Function* function, Module, const char* name) {
  const auto entry = simt::entries().find(name);
  if (entry == simt::entries().end()) return kNotFound;
  *function = reinterpret_cast<Function>(&*entry);
  return failed_with;
}
int cuFuncSetAttribute(Function function, int attribute, int value) {
  if (attribute != kMaxDynamicSharedBytes || static_cast<size_t>(value) > simt_settings.shared_bytes)
    return kInvalidValue;
  allowed_shared[function] = static_cast<unsigned>(value);
  return failed_with;
}

int cuLaunchKernel(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream, void** parameters, void**) {
  if (failed_with != 0) return failed_with;
  const auto& entry = *reinterpret_cast<const std::pair<const std::string, simt::Entry>*>(function);
  const auto* args = static_cast<const unsigned char*>(parameters[0]);
  Asked asked{&entry,
              {{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared_bytes, 0},
              {args, args + entry.second.args_bytes}};
  if (captured != nullptr) return captured->push_back(std::move(asked)), kSuccess;
  return run(asked);
}

int cuStreamBeginCapture_v2(Stream, int mode) {
  if (simt_settings.refuses_graphs || mode != kCaptureThreadLocal || captured != nullptr) return kInvalidValue;
  captured = std::make_unique<Launches>();
  return failed_with;
}
int cuStreamEndCapture(Stream, Graph* graph) {
  if (captured == nullptr) return kInvalidValue;
  *graph = reinterpret_cast<Graph>(captured.release());
  return failed_with;
}
int cuGraphInstantiateWithFlags(GraphExec* executable, Graph graph, unsigned long long) {
  *executable = reinterpret_cast<GraphExec>(new Launches(*reinterpret_cast<Launches*>(graph)));
  return failed_with;
}
int cuGraphLaunch(GraphExec executable, Stream) {
  ++simt_settings.replays;
  for (const Asked& asked : *reinterpret_cast<Launches*>(executable))
    if (const int code = run(asked); code != kSuccess) return code;
  return kSuccess;
}
int cuGraphDestroy(Graph graph) {
  delete reinterpret_cast<Launches*>(graph);
  return failed_with;
}
int cuGraphExecDestroy(GraphExec executable) {
  delete reinterpret_cast<Launches*>(executable);
  return failed_with;
}

int cuMemGetInfo_v2(size_t* free_bytes, size_t* total_bytes) {
  *total_bytes = simt_settings.memory_bytes;
  *free_bytes = free_memory();
  return failed_with;
}
int cuMemAlloc_v2(DeviceAddress* memory, size_t bytes) {
  if (is_captured()) return failed_with;
  if (failed_with != 0) return failed_with;
  if (bytes == 0) return kInvalidValue;
  if (is_due(simt_settings.allocations_to_full)) return kOutOfMemory;
  if (bytes > free_memory()) return kOutOfMemory;
  const size_t all = bytes + (kHasGuards ? kGuardBytes : 0);
  void* p = nullptr;
  if (posix_memalign(&p, 256, all) != 0) return kOutOfMemory;
  std::memset(p, 0xff, bytes);  // NaN until it is written
  if (kHasGuards) std::memset(static_cast<char*>(p) + bytes, kGuard, kGuardBytes);
  *memory = reinterpret_cast<DeviceAddress>(p);
  blocks[*memory] = {bytes, current};
  return kSuccess;
}
int cuMemFree_v2(DeviceAddress memory) {
  const auto block = blocks.find(memory);
  if (block == blocks.end()) return kInvalidValue;
  blocks.erase(block);
  std::free(reinterpret_cast<void*>(memory));
  return failed_with;
}
int cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  *memory = std::malloc(bytes);
  if (*memory == nullptr) return kOutOfMemory;
  host_blocks[*memory] = current;
  return failed_with;
}
int cuMemFreeHost(void* memory) {
  if (host_blocks.erase(memory) == 0) return kInvalidValue;
  std::free(memory);
  return failed_with;
}
int cuMemcpyHtoDAsync_v2(DeviceAddress to, const void* from, size_t bytes, Stream) {
  if (is_captured()) return failed_with;
  if (failed_with != 0) return failed_with;
  if (is_due(simt_settings.uploads_to_loss)) return fail(kLaunchFailed, "the card is lost while bytes are copied");
  if (!simt::is_device_memory(to, bytes)) return fail(kInvalidValue, "a copy to what is not the card's memory");
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return kSuccess;
}
int cuMemcpyDtoHAsync_v2(void* to, DeviceAddress from, size_t bytes, Stream) {
  if (is_captured()) return failed_with;
  if (failed_with != 0) return failed_with;
  if (!simt::is_device_memory(from, bytes)) return fail(kInvalidValue, "a copy from what is not the card's memory");
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return kSuccess;
}

int cuStreamCreate(Stream* stream, unsigned) {
  *stream = reinterpret_cast<Stream>(&blocks);
  return failed_with;
}
int cuStreamDestroy_v2(Stream) { return failed_with; }
int cuStreamSynchronize(Stream) { return is_captured() ? failed_with : failed_with; }
int cuEventCreate(Event* event, unsigned flags) {
  auto* moment = new Moment{flags, 0};
  moments[moment] = current;
  *event = reinterpret_cast<Event>(moment);
  return failed_with;
}
int cuEventDestroy_v2(Event event) {
  auto* moment = reinterpret_cast<Moment*>(event);
  if (moments.erase(moment) == 0) return kInvalidValue;
  delete moment;
  return failed_with;
}
int cuEventRecord(Event event, Stream) {
  reinterpret_cast<Moment*>(event)->at = simt_settings.ms;
  return failed_with;
}
int cuEventSynchronize(Event) { return failed_with; }
int cuEventElapsedTime(float* ms, Event first, Event second) {
  const auto &from = *reinterpret_cast<Moment*>(first), &to = *reinterpret_cast<Moment*>(second);
  if (from.flags != kEventDefault || to.flags != kEventDefault) return kInvalidValue;
  *ms = static_cast<float>(to.at - from.at);
  return failed_with;
}

// Of NVML, which programs have what of a card.
struct NvmlProcess {
  unsigned id;
  unsigned long long bytes;
  unsigned gpu_instance, compute_instance;
};
int nvmlInit_v2() { return 0; }
int nvmlDeviceGetHandleByUUID(const char* uuid, void** card) {
  *card = reinterpret_cast<void*>(context_of(std::strncmp(uuid, "GPU-10", 6) == 0 ? 1 : 0));
  return 0;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void* card, unsigned* n, NvmlProcess* processes) {
  constexpr unsigned kProcesses = 20;  // more than anybody has room for at first
  const unsigned room = *n;
  *n = kProcesses;
  if (room < kProcesses) return 7;
  for (unsigned i = 0; i < kProcesses; ++i) processes[i] = {~i, simt_settings.taken_bytes / kProcesses, 0, 0};
  size_t own = simt_settings.context_bytes;
  for (const auto& [address, block] : blocks) own += static_cast<void*>(block.card) == card ? block.bytes : 0;
  processes[kProcesses - 1] = {static_cast<unsigned>(getpid()), own, 0, 0};
  return 0;
}

}  // extern "C"
