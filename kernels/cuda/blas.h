// NVIDIA's library of matrix products (cuBLASLt), opened when the program runs, where it is installed: it is half a
// gigabyte and comes with CUDA's toolkit, not with the driver. Names, types and numbers are those of its reference;
// tests compare them with cublasLt.h where it is. Not thread-safe: the thread that owns the device.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "kernels/cuda/args.h"
#include "kernels/cuda/driver.h"

namespace longleaf::kernels::cuda {

// cublasComputeType_t, cudaDataType, attributes and values of products.
enum BlasNumber : int {
  kComputeFloats = 68,
  kRealFloat = 0,
  kRealBfloat = 14,
  kTransposeA = 3,
  kEpilogue = 7,
  kBiasPointer = 8,
  kTransposed = 1,
  kEpilogueBias = 4,
  kMostWorkspace = 1,
};

using BlasHandle = struct cublasLtContext*;
using BlasProduct = struct BlasOpaqueProduct*;
using BlasLayout = struct BlasOpaqueLayout*;
using BlasPreference = struct BlasOpaquePreference*;
struct BlasAlgorithm {
  uint64_t data[8];
};
struct BlasFound {
  BlasAlgorithm algorithm;
  size_t workspace_bytes;
  int state;
  float waves;
  int reserved[4];
};

// Every one returns a cublasStatus_t, 0 for success.
struct BlasFunctions {
  int (*create)(BlasHandle* handle);
  int (*destroy)(BlasHandle handle);
  int (*create_product)(BlasProduct* product, int compute, int scale);
  int (*destroy_product)(BlasProduct product);
  int (*set_product)(BlasProduct product, int attribute, const void* value, size_t bytes);
  int (*create_layout)(BlasLayout* layout, int type, uint64_t rows, uint64_t cols, int64_t stride);
  int (*destroy_layout)(BlasLayout layout);
  int (*create_preference)(BlasPreference* preference);
  int (*destroy_preference)(BlasPreference preference);
  int (*set_preference)(BlasPreference preference, int attribute, const void* value, size_t bytes);
  int (*find)(BlasHandle handle, BlasProduct product, BlasLayout a, BlasLayout b, BlasLayout c, BlasLayout d,
              BlasPreference preference, int wanted, BlasFound* found, int* n_found);
  int (*multiply)(BlasHandle handle, BlasProduct product, const void* alpha, const void* a, BlasLayout a_layout,
                  const void* b, BlasLayout b_layout, const void* beta, const void* c, BlasLayout c_layout, void* d,
                  BlasLayout d_layout, const BlasAlgorithm* algorithm, void* workspace, size_t workspace_bytes,
                  Stream stream);

  // Those of `library`, or of where the system has it when empty; false where it is not, or lacks one.
  bool find_all(const std::string& library);
};

// To work in: what NVIDIA advises for its largest cards. With the library's own kernels, which are more, it comes out
// of what is kept spare of a card's memory.
constexpr size_t kBlasWorkspaceBytes = size_t{32} << 20;

// Products of F32 and BF16 weights: a matmul of backend.h.
class Blas {
 public:
  // nullptr where there is no such library, or it does not start. REQUIRES: the card's context is current.
  static std::unique_ptr<Blas> open(const std::string& library);
  ~Blas();

  // False where it refuses. `workspace`: kBlasWorkspaceBytes of the card's memory.
  bool multiply(DType type, const ProductArgs& args, void* workspace, Stream stream);

 private:
  explicit Blas(const BlasFunctions& functions) : f_(functions) {}
  // One shape of product.
  struct Plan {
    BlasProduct product = nullptr;
    BlasLayout weight = nullptr, input = nullptr, out = nullptr;
    BlasAlgorithm algorithm{};
    bool works = false;
  };
  using Shape = std::tuple<DType, int, int, int, bool>;  // rows, columns, tokens, whether there is a bias
  Plan make_plan(DType type, const ProductArgs& args);
  bool find_algorithm(Plan& plan);
  void forget_plans();
  static constexpr size_t kMostPlans = 1024;

  BlasFunctions f_;
  BlasHandle handle_ = nullptr;
  std::map<Shape, Plan> plans_;
};

}  // namespace longleaf::kernels::cuda
