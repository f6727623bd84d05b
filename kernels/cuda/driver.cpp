#include "kernels/cuda/driver.h"

#include "kernels/cuda/shared_library.h"

namespace longleaf::kernels::cuda {
namespace {

#ifdef _WIN32
constexpr const char* kLibrary = "nvcuda.dll";
#else
constexpr const char* kLibrary = "libcuda.so.1";
#endif

struct Finder {
  void* library;
  std::string missing;  // the first

  template <typename F>
  void operator()(const char* name, F*& function) {
    function = reinterpret_cast<F*>(find_symbol(library, name));
    if (function == nullptr && missing.empty()) missing = name;
  }
};

// Names with _v2 are those that programs built since CUDA 3.2 get.
void find_all(Finder& find, Driver& d) {
  find("cuInit", d.init);
  find("cuDriverGetVersion", d.driver_version);
  find("cuGetErrorName", d.error_name);
  find("cuDeviceGetCount", d.device_count);
  find("cuDeviceGet", d.device);
  find("cuDeviceGetName", d.device_name);
  find("cuDeviceGetUuid_v2", d.device_uuid);
  find("cuDeviceTotalMem_v2", d.device_memory);
  find("cuDeviceGetAttribute", d.device_attribute);
  find("cuDevicePrimaryCtxRetain", d.retain_context);
  find("cuDevicePrimaryCtxRelease_v2", d.release_context);
  find("cuDevicePrimaryCtxReset_v2", d.reset_context);
  find("cuCtxSetCurrent", d.set_context);
  find("cuModuleLoadData", d.load_module);
  find("cuModuleUnload", d.unload_module);
  find("cuModuleGetFunction", d.function);
  find("cuFuncSetAttribute", d.set_function);
  find("cuLaunchKernel", d.launch);
  find("cuMemGetInfo_v2", d.free_memory);
  find("cuMemAlloc_v2", d.allocate);
  find("cuMemFree_v2", d.release);
  find("cuMemHostAlloc", d.allocate_host);
  find("cuMemFreeHost", d.release_host);
  find("cuMemcpyHtoDAsync_v2", d.upload);
  find("cuMemcpyDtoHAsync_v2", d.download);
  find("cuStreamCreate", d.create_stream);
  find("cuStreamDestroy_v2", d.destroy_stream);
  find("cuStreamSynchronize", d.wait_for_stream);
  find("cuEventCreate", d.create_event);
  find("cuEventDestroy_v2", d.destroy_event);
  find("cuEventRecord", d.record_event);
  find("cuEventSynchronize", d.wait_for_event);
  find("cuEventElapsedTime", d.ms_between);
  find("cuStreamBeginCapture_v2", d.begin_capture);
  find("cuStreamEndCapture", d.end_capture);
  find("cuGraphInstantiateWithFlags", d.instantiate);
  find("cuGraphLaunch", d.launch_graph);
  find("cuGraphDestroy", d.destroy_graph);
  find("cuGraphExecDestroy", d.destroy_executable);
}

// Whether a context is of no use any more: faults of the card and of kernels (CUresult 700 to 720 but a refused launch
// and what is asked of peers), memory that cannot be corrected, a driver that is gone.
bool is_lost(int code) {
  constexpr int kLaunchOutOfResources = 701, kFirstOfPeers = 704, kLastOfPeers = 708;
  if (code == kLaunchOutOfResources || (code >= kFirstOfPeers && code <= kLastOfPeers)) return false;
  return (code >= 700 && code <= 720) || code == 214 || code == 220 || code == 4 || code == 999;
}

constexpr const char* kInstall = "; install NVIDIA's driver to compute on an NVIDIA card";

}  // namespace

Result<Driver> Driver::open(const std::string& library) {
  const std::string name = library.empty() ? kLibrary : library;
  Finder find{open_library(name.c_str()), {}};
  if (find.library == nullptr)
    return Status(Code::Unsupported, "No NVIDIA driver is installed (" + name + " is missing)" + kInstall);
  Driver driver{};
  find_all(find, driver);
  if (!find.missing.empty())
    return Status(Code::Unsupported, "The NVIDIA driver is too old (it lacks " + find.missing + "); update it");
  if (const int code = driver.init(0); code == kNoDevice)
    return Status(Code::Unsupported, "The NVIDIA driver finds no card; check that one is there and not switched off");
  else if (code != kSuccess)
    return Status(Code::Unsupported, "The NVIDIA driver does not start (" + driver.name_of(code) +
                                         "); restart the computer, and install the driver again if that does not help");
  return driver;
}

std::string Driver::name_of(int code) const {
  const char* name = nullptr;
  return error_name(code, &name) == kSuccess && name != nullptr ? name : "error " + std::to_string(code);
}

Status Driver::status(int code, const char* doing) const {
  if (code == kSuccess) return {};
  if (code == kOutOfMemory)
    return Status(longleaf::Code::NoMemory,
                  "There is not enough memory on the GPU; close other programs or choose a smaller model");
  if (is_lost(code))
    return Status(longleaf::Code::DeviceLost,
                  std::string("The GPU stopped while ") + doing + " (" + name_of(code) + "); ask again");
  return Status(longleaf::Code::Unsupported, std::string("The GPU refused to go on while ") + doing + " (" +
                                                 name_of(code) + "); choose --device cpu");
}

}  // namespace longleaf::kernels::cuda
