// NVIDIA's driver, opened when the program runs: nothing here is linked, and no header of CUDA's is needed.
// Names, types and numbers are those of the CUDA Driver API reference; tests compare them with cuda.h where it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/base/status.h"

namespace longleaf::kernels::cuda {

using DeviceAddress = unsigned long long;
using DeviceIndex = int;
using Context = struct CUctx_st*;
using Module = struct CUmod_st*;
using Function = struct CUfunc_st*;
using Stream = struct CUstream_st*;
using Event = struct CUevent_st*;
using Graph = struct CUgraph_st*;
using GraphExec = struct CUgraphExec_st*;
struct Uuid {
  char bytes[16];
};

// CUresult, those that are told apart.
enum ResultCode : int {
  kSuccess = 0,
  kOutOfMemory = 2,
  kNoDevice = 100,
  kNoBinaryForGpu = 209,
  kUnsupportedPtxVersion = 222,
  kNotFound = 500,
  kLaunchFailed = 719,
};

// CUdevice_attribute.
enum Attribute : int {
  kMultiprocessors = 16,
  kComputeMajor = 75,
  kComputeMinor = 76,
  kMostSharedBytes = 97,  // of a block, for kernels that ask
};

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDefault = 0, kEventDisableTiming = 2;
constexpr int kCaptureThreadLocal = 1;     // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
constexpr int kMaxDynamicSharedBytes = 8;  // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

// The driver's functions; every one returns a CUresult.
struct Driver {
  int (*init)(unsigned flags);
  int (*driver_version)(int* version);
  int (*error_name)(int code, const char** name);
  int (*device_count)(int* count);
  int (*device)(DeviceIndex* device, int ordinal);
  int (*device_name)(char* name, int length, DeviceIndex device);
  int (*device_uuid)(Uuid* uuid, DeviceIndex device);
  int (*device_memory)(size_t* bytes, DeviceIndex device);
  int (*device_attribute)(int* value, int attribute, DeviceIndex device);
  int (*retain_context)(Context* context, DeviceIndex device);
  int (*release_context)(DeviceIndex device);
  int (*reset_context)(DeviceIndex device);
  int (*set_context)(Context context);
  int (*load_module)(Module* module, const void* image);
  int (*unload_module)(Module module);
  int (*function)(Function* function, Module module, const char* name);
  int (*set_function)(Function function, int attribute, int value);
  int (*launch)(Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream, void** parameters,
                void** extra);
  int (*free_memory)(size_t* free_bytes, size_t* total_bytes);
  int (*allocate)(DeviceAddress* memory, size_t bytes);
  int (*release)(DeviceAddress memory);
  int (*allocate_host)(void** memory, size_t bytes, unsigned flags);
  int (*release_host)(void* memory);
  int (*upload)(DeviceAddress to, const void* from, size_t bytes, Stream stream);
  int (*download)(void* to, DeviceAddress from, size_t bytes, Stream stream);
  int (*create_stream)(Stream* stream, unsigned flags);
  int (*destroy_stream)(Stream stream);
  int (*wait_for_stream)(Stream stream);
  int (*create_event)(Event* event, unsigned flags);
  int (*destroy_event)(Event event);
  int (*record_event)(Event event, Stream stream);
  int (*wait_for_event)(Event event);
  int (*ms_between)(float* ms, Event first, Event second);
  int (*begin_capture)(Stream stream, int mode);
  int (*end_capture)(Stream stream, Graph* graph);
  int (*instantiate)(GraphExec* executable, Graph graph, unsigned long long flags);
  int (*launch_graph)(GraphExec executable, Stream stream);
  int (*destroy_graph)(Graph graph);
  int (*destroy_executable)(GraphExec executable);

  // Opens `library` (the driver's usual name when empty) and starts it. The library stays open as long as the program.
  // Returns Unsupported with one sentence: what is missing and what to do.
  static Result<Driver> open(const std::string& library);

  // "CUDA_ERROR_LAUNCH_FAILED".
  std::string name_of(int code) const;
  // Ok; NoMemory; DeviceLost for errors after which a context computes no more; else Unsupported. `doing`: "copying".
  Status status(int code, const char* doing) const;
};

}  // namespace longleaf::kernels::cuda
