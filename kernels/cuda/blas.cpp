#include "kernels/cuda/blas.h"

#include <cstdlib>
#include <vector>

#include "kernels/cuda/planes.h"
#include "kernels/cuda/shared_library.h"

namespace longleaf::kernels::cuda {
namespace {

// Those that programs built by CUDA 13 and 12 have: what is used of them is the same.
#ifdef _WIN32
constexpr const char* kLibraries[] = {"cublasLt64_13.dll", "cublasLt64_12.dll"};
#else
constexpr const char* kLibraries[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
#endif

// Where the toolkit puts it; an empty one is the system's search.
std::vector<std::string> folders() {
#ifdef _WIN32
  const char* toolkit = std::getenv("CUDA_PATH");
  if (toolkit == nullptr) return {};
  return {std::string(toolkit) + "\\bin\\x64\\", std::string(toolkit) + "\\bin\\"};
#else
  return {"", "/usr/local/cuda/lib64/"};
#endif
}

void* open_any(const std::string& library) {
  if (!library.empty()) return open_library(library.c_str());
  for (const std::string& folder : folders())
    for (const char* name : kLibraries)
      if (void* opened = open_library((folder + name).c_str())) return opened;
  return nullptr;
}

// What algorithms are found for: matrices as memory comes from the driver, and a bias of whole vectors.
bool is_aligned(const void* p, size_t to) { return reinterpret_cast<uintptr_t>(p) % to == 0; }
bool are_aligned(const void* weight, const void* input, const void* out, const float* bias) {
  constexpr size_t kMatrix = 256, kBias = 16;
  return is_aligned(weight, kMatrix) && is_aligned(input, kMatrix) && is_aligned(out, kMatrix) &&
         is_aligned(bias, kBias);
}

}  // namespace

bool BlasFunctions::find_all(const std::string& library) {
  void* opened = open_any(library);
  if (opened == nullptr) return false;
  bool has_all = true;
  const auto look_up = [&]<typename F>(const char* name, F*& function) {
    function = reinterpret_cast<F*>(find_symbol(opened, name));
    has_all = has_all && function != nullptr;
  };
  look_up("cublasLtCreate", create);
  look_up("cublasLtDestroy", destroy);
  look_up("cublasLtMatmulDescCreate", create_product);
  look_up("cublasLtMatmulDescDestroy", destroy_product);
  look_up("cublasLtMatmulDescSetAttribute", set_product);
  look_up("cublasLtMatrixLayoutCreate", create_layout);
  look_up("cublasLtMatrixLayoutDestroy", destroy_layout);
  look_up("cublasLtMatmulPreferenceCreate", create_preference);
  look_up("cublasLtMatmulPreferenceDestroy", destroy_preference);
  look_up("cublasLtMatmulPreferenceSetAttribute", set_preference);
  look_up("cublasLtMatmulAlgoGetHeuristic", find);
  look_up("cublasLtMatmul", multiply);
  return has_all;
}

std::unique_ptr<Blas> Blas::open(const std::string& library) {
  BlasFunctions functions{};
  if (!functions.find_all(library)) return nullptr;
  std::unique_ptr<Blas> blas(new Blas(functions));
  if (functions.create(&blas->handle_) != 0) return nullptr;
  return blas;
}

Blas::~Blas() {
  forget_plans();
  if (handle_ != nullptr) f_.destroy(handle_);
}

// The library has its matrices column by column, so what is a row here is a column there: out (rows, tokens) is the
// transposed weight (cols, rows) times the input (cols, tokens).
Blas::Plan Blas::make_plan(DType type, const ProductArgs& args) {
  Plan plan;
  const auto padded = static_cast<uint64_t>(padded_cols(args.cols)), rows = static_cast<uint64_t>(args.rows);
  const auto tokens = static_cast<uint64_t>(args.n_tokens);
  const int number = type == DType::BF16 ? kRealBfloat : kRealFloat, transposed = kTransposed, bias = kEpilogueBias;
  plan.works = f_.create_product(&plan.product, kComputeFloats, kRealFloat) == 0 &&
               f_.set_product(plan.product, kTransposeA, &transposed, sizeof transposed) == 0 &&
               f_.create_layout(&plan.weight, number, padded, rows, static_cast<int64_t>(padded)) == 0 &&
               f_.create_layout(&plan.input, number, padded, tokens, static_cast<int64_t>(padded)) == 0 &&
               f_.create_layout(&plan.out, kRealFloat, rows, tokens, static_cast<int64_t>(rows)) == 0;
  if (plan.works && args.bias != nullptr)
    plan.works = f_.set_product(plan.product, kEpilogue, &bias, sizeof bias) == 0 &&
                 f_.set_product(plan.product, kBiasPointer, &args.bias, sizeof args.bias) == 0;
  plan.works = plan.works && find_algorithm(plan);
  return plan;
}

bool Blas::find_algorithm(Plan& plan) {
  BlasPreference preference = nullptr;
  if (f_.create_preference(&preference) != 0) return false;
  const size_t most = kBlasWorkspaceBytes;
  BlasFound found{};
  int n_found = 0;
  const bool works = f_.set_preference(preference, kMostWorkspace, &most, sizeof most) == 0 &&
                     f_.find(handle_, plan.product, plan.weight, plan.input, plan.out, plan.out, preference, 1, &found,
                             &n_found) == 0 &&
                     n_found > 0 && found.state == 0;
  f_.destroy_preference(preference);
  plan.algorithm = found.algorithm;
  return works;
}

void Blas::forget_plans() {
  for (const auto& [shape, plan] : plans_) {
    for (BlasLayout layout : {plan.weight, plan.input, plan.out})
      if (layout != nullptr) f_.destroy_layout(layout);
    if (plan.product != nullptr) f_.destroy_product(plan.product);
  }
  plans_.clear();
}

bool Blas::multiply(DType type, const ProductArgs& args, void* workspace, Stream stream) {
  const void* input = type == DType::BF16 ? static_cast<const void*>(args.bfloats) : args.floats;
  if (!are_aligned(args.weight, input, args.out, args.bias)) return false;
  if (plans_.size() >= kMostPlans) forget_plans();
  const auto [it, is_new] =
      plans_.try_emplace({type, args.rows, args.cols, args.n_tokens, args.bias != nullptr}, Plan{});
  Plan& plan = it->second;
  if (is_new) plan = make_plan(type, args);
  if (!plan.works) return false;
  if (args.bias != nullptr && f_.set_product(plan.product, kBiasPointer, &args.bias, sizeof args.bias) != 0)
    return false;
  const float one = 1, zero = 0;
  return f_.multiply(handle_, plan.product, &one, args.weight, plan.weight, input, plan.input, &zero, args.out,
                     plan.out, args.out, plan.out, &plan.algorithm, workspace, kBlasWorkspaceBytes, stream) == 0;
}

}  // namespace longleaf::kernels::cuda
