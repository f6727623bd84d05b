#include "kernels/cuda/management.h"

#include <vector>

#include "kernels/cuda/shared_library.h"

#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

namespace longleaf::kernels::cuda {
namespace {

#ifdef _WIN32
constexpr const char* kLibrary = "nvml.dll";
#else
constexpr const char* kLibrary = "libnvidia-ml.so.1";
#endif

constexpr int kDone = 0, kTooFew = 7;            // NVML_SUCCESS, NVML_ERROR_INSUFFICIENT_SIZE
constexpr unsigned long long kNotKnown = ~0ull;  // NVML_VALUE_NOT_AVAILABLE
constexpr unsigned kMostProcesses = 1024;

}  // namespace

Management::Management(const std::string& library) {
  void* opened = open_library(library.empty() ? kLibrary : library.c_str());
  if (opened == nullptr) return;
  const auto init = reinterpret_cast<int (*)()>(find_symbol(opened, "nvmlInit_v2"));
  if (init == nullptr || init() != kDone) return;
  card_by_uuid_ = reinterpret_cast<decltype(card_by_uuid_)>(find_symbol(opened, "nvmlDeviceGetHandleByUUID"));
  compute_processes_ =
      reinterpret_cast<decltype(compute_processes_)>(find_symbol(opened, "nvmlDeviceGetComputeRunningProcesses_v3"));
}

std::optional<size_t> Management::own_bytes(const std::string& uuid) const {
  Card card = nullptr;
  if (card_by_uuid_ == nullptr || compute_processes_ == nullptr || card_by_uuid_(uuid.c_str(), &card) != kDone)
    return {};
  std::vector<Process> processes(16);
  auto n = static_cast<unsigned>(processes.size());
  for (int code; (code = compute_processes_(card, &n, processes.data())) != kDone;) {
    if (code != kTooFew || n > kMostProcesses) return {};
    processes.resize(n + 8);  // others may begin meanwhile
    n = static_cast<unsigned>(processes.size());
  }
  const auto own = static_cast<unsigned>(getpid());
  for (unsigned i = 0; i < n; ++i)
    if (processes[i].id == own && processes[i].bytes != kNotKnown) return static_cast<size_t>(processes[i].bytes);
  return {};
}

}  // namespace longleaf::kernels::cuda
