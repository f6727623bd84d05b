// What kernels/cuda/driver.h says of NVIDIA's driver is what its own header says: numbers, and the shape of functions.
#include <cublasLt.h>
#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "kernels/cuda/blas.h"
#include "kernels/cuda/driver.h"
#include "tests/support/check.h"

namespace ll = longleaf::kernels::cuda;

namespace {

// Two types that are passed alike: of one size, and both pointers or both not.
template <typename A, typename B>
constexpr bool kAlike = sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B>;

template <typename F, typename G>
constexpr bool kSameShape = false;
template <typename R, typename... A, typename S, typename... B>
constexpr bool kSameShape<R (*)(A...), S(B...)> = [] {
  if constexpr (sizeof...(A) == sizeof...(B))
    return kAlike<R, S> && (kAlike<A, B> && ...);
  else
    return false;
}();

// Pairs of a field and the function that cuda.h declares under the name which programs of today get.
#define SAME(field, function) static_assert(kSameShape<decltype(ll::Driver::field), decltype(function)>)
SAME(init, cuInit);
SAME(driver_version, cuDriverGetVersion);
SAME(error_name, cuGetErrorName);
SAME(device_count, cuDeviceGetCount);
SAME(device, cuDeviceGet);
SAME(device_name, cuDeviceGetName);
SAME(device_uuid, cuDeviceGetUuid_v2);
SAME(device_memory, cuDeviceTotalMem_v2);
SAME(device_attribute, cuDeviceGetAttribute);
SAME(retain_context, cuDevicePrimaryCtxRetain);
SAME(release_context, cuDevicePrimaryCtxRelease_v2);
SAME(reset_context, cuDevicePrimaryCtxReset_v2);
SAME(set_context, cuCtxSetCurrent);
SAME(load_module, cuModuleLoadData);
SAME(unload_module, cuModuleUnload);
SAME(function, cuModuleGetFunction);
SAME(set_function, cuFuncSetAttribute);
SAME(launch, cuLaunchKernel);
SAME(free_memory, cuMemGetInfo_v2);
SAME(allocate, cuMemAlloc_v2);
SAME(release, cuMemFree_v2);
SAME(allocate_host, cuMemHostAlloc);
SAME(release_host, cuMemFreeHost);
SAME(upload, cuMemcpyHtoDAsync_v2);
SAME(download, cuMemcpyDtoHAsync_v2);
SAME(create_stream, cuStreamCreate);
SAME(destroy_stream, cuStreamDestroy_v2);
SAME(wait_for_stream, cuStreamSynchronize);
SAME(create_event, cuEventCreate);
SAME(destroy_event, cuEventDestroy_v2);
SAME(record_event, cuEventRecord);
SAME(wait_for_event, cuEventSynchronize);
SAME(begin_capture, cuStreamBeginCapture_v2);
SAME(end_capture, cuStreamEndCapture);
SAME(instantiate, cuGraphInstantiateWithFlags);
SAME(launch_graph, cuGraphLaunch);
SAME(destroy_graph, cuGraphDestroy);
SAME(destroy_executable, cuGraphExecDestroy);
SAME(ms_between, cuEventElapsedTime);
#undef SAME

#define SAME(field, function) static_assert(kSameShape<decltype(ll::BlasFunctions::field), decltype(function)>)
SAME(create, cublasLtCreate);
SAME(destroy, cublasLtDestroy);
SAME(create_product, cublasLtMatmulDescCreate);
SAME(destroy_product, cublasLtMatmulDescDestroy);
SAME(set_product, cublasLtMatmulDescSetAttribute);
SAME(create_layout, cublasLtMatrixLayoutCreate);
SAME(destroy_layout, cublasLtMatrixLayoutDestroy);
SAME(create_preference, cublasLtMatmulPreferenceCreate);
SAME(destroy_preference, cublasLtMatmulPreferenceDestroy);
SAME(set_preference, cublasLtMatmulPreferenceSetAttribute);
SAME(find, cublasLtMatmulAlgoGetHeuristic);
SAME(multiply, cublasLtMatmul);
#undef SAME

static_assert(sizeof(ll::BlasAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(ll::BlasFound) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(ll::BlasFound, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(ll::BlasFound, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));

static_assert(sizeof(ll::Uuid) == sizeof(CUuuid) && sizeof(ll::DeviceAddress) == sizeof(CUdeviceptr));

}  // namespace

TEST(numbers_are_those_of_the_header) {
  CHECK_EQ(int{ll::kSuccess}, int{CUDA_SUCCESS});
  CHECK_EQ(int{ll::kOutOfMemory}, int{CUDA_ERROR_OUT_OF_MEMORY});
  CHECK_EQ(int{ll::kNoDevice}, int{CUDA_ERROR_NO_DEVICE});
  CHECK_EQ(int{ll::kNoBinaryForGpu}, int{CUDA_ERROR_NO_BINARY_FOR_GPU});
  CHECK_EQ(int{ll::kUnsupportedPtxVersion}, int{CUDA_ERROR_UNSUPPORTED_PTX_VERSION});
  CHECK_EQ(int{ll::kNotFound}, int{CUDA_ERROR_NOT_FOUND});
  CHECK_EQ(int{ll::kLaunchFailed}, int{CUDA_ERROR_LAUNCH_FAILED});
  CHECK_EQ(int{ll::kMultiprocessors}, int{CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT});
  CHECK_EQ(int{ll::kComputeMajor}, int{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR});
  CHECK_EQ(int{ll::kComputeMinor}, int{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR});
  CHECK_EQ(int{ll::kMostSharedBytes}, int{CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN});
  CHECK_EQ(int{ll::kMaxDynamicSharedBytes}, int{CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES});
  CHECK_EQ(int{ll::kCaptureThreadLocal}, int{CU_STREAM_CAPTURE_MODE_THREAD_LOCAL});
  CHECK_EQ(ll::kStreamNonBlocking, unsigned{CU_STREAM_NON_BLOCKING});
  CHECK_EQ(ll::kEventDisableTiming, unsigned{CU_EVENT_DISABLE_TIMING});
}

TEST(numbers_of_products_are_those_of_the_header) {
  CHECK_EQ(int{ll::kComputeFloats}, int{CUBLAS_COMPUTE_32F});
  CHECK_EQ(int{ll::kRealFloat}, int{CUDA_R_32F});
  CHECK_EQ(int{ll::kRealBfloat}, int{CUDA_R_16BF});
  CHECK_EQ(int{ll::kTransposeA}, int{CUBLASLT_MATMUL_DESC_TRANSA});
  CHECK_EQ(int{ll::kEpilogue}, int{CUBLASLT_MATMUL_DESC_EPILOGUE});
  CHECK_EQ(int{ll::kBiasPointer}, int{CUBLASLT_MATMUL_DESC_BIAS_POINTER});
  CHECK_EQ(int{ll::kTransposed}, int{CUBLAS_OP_T});
  CHECK_EQ(int{ll::kEpilogueBias}, int{CUBLASLT_EPILOGUE_BIAS});
  CHECK_EQ(int{ll::kMostWorkspace}, int{CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES});
  CHECK_EQ(int{CUBLAS_STATUS_SUCCESS}, 0);
  CHECK_EQ(ll::kEventDefault, unsigned{CU_EVENT_DEFAULT});
}

// What can be asked of the library itself without a card: it takes what we describe products with.
TEST(the_library_takes_our_descriptions) {
  ll::BlasFunctions f{};
  if (!f.find_all("")) return std::printf("cuBLASLt is not installed\n"), void();
  ll::BlasProduct product = nullptr;
  ll::BlasLayout layout = nullptr;
  ll::BlasPreference preference = nullptr;
  CHECK_EQ(f.create_product(&product, ll::kComputeFloats, ll::kRealFloat), 0);
  const int transposed = ll::kTransposed, bias = ll::kEpilogueBias;
  const float* pointer = nullptr;
  const size_t most = ll::kBlasWorkspaceBytes;
  CHECK_EQ(f.set_product(product, ll::kTransposeA, &transposed, sizeof transposed), 0);
  CHECK_EQ(f.set_product(product, ll::kEpilogue, &bias, sizeof bias), 0);
  CHECK_EQ(f.set_product(product, ll::kBiasPointer, &pointer, sizeof pointer), 0);
  CHECK(f.set_product(product, ll::kTransposeA, &transposed, 1) != 0);
  CHECK_EQ(f.create_layout(&layout, ll::kRealBfloat, 64, 128, 64), 0);
  CHECK_EQ(f.create_preference(&preference), 0);
  CHECK_EQ(f.set_preference(preference, ll::kMostWorkspace, &most, sizeof most), 0);
  CHECK_EQ(f.destroy_preference(preference), 0);
  CHECK_EQ(f.destroy_layout(layout), 0);
  CHECK_EQ(f.destroy_product(product), 0);
}
