// NVIDIA's library of products, played by plain loops: the functions that kernels/cuda/blas.h looks for. What the
// library documents as wrong is refused.
#include <cstring>

#include "kernels/cuda/blas.h"
#include "kernels/half.h"
#include "tests/support/simt/memory.h"
#include "tests/support/simt/settings.h"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

extern "C" simt::Settings simt_settings;

namespace {

constexpr int kDone = 0, kNotInitialised = 1, kInvalid = 7, kNotSupported = 15;

struct Described {
  int compute, scale, transpose_a = 0, epilogue = 1;
  const float* bias = nullptr;
};
struct Matrix {
  int type;
  uint64_t rows, cols;
  int64_t stride;
  size_t bytes() const { return static_cast<size_t>(stride) * cols * (type == kRealBfloat ? 2 : 4); }
  // Column by column.
  float at(const void* x, uint64_t row, uint64_t col) const {
    const uint64_t i = row + col * static_cast<uint64_t>(stride);
    return type == kRealBfloat ? bfloat_to_float(static_cast<const uint16_t*>(x)[i]) : static_cast<const float*>(x)[i];
  }
};

Described& of(BlasProduct product) { return *reinterpret_cast<Described*>(product); }
Matrix& of(BlasLayout layout) { return *reinterpret_cast<Matrix*>(layout); }

bool fits(const Described& p, const Matrix& a, const Matrix& b, const Matrix& d) {
  return p.compute == kComputeFloats && p.scale == kRealFloat && p.transpose_a == kTransposed && a.type == b.type &&
         d.type == kRealFloat && a.rows == b.rows && a.cols == d.rows && b.cols == d.cols &&
         (p.epilogue == 1 || p.epilogue == kEpilogueBias);
}

bool is_memory(const void* p, size_t bytes) { return simt::is_device_memory(reinterpret_cast<uintptr_t>(p), bytes); }

}  // namespace

extern "C" {

int cublasLtCreate(BlasHandle* handle) {
  if (!simt_settings.has_blas) return kNotInitialised;
  *handle = reinterpret_cast<BlasHandle>(&simt_settings);
  return kDone;
}
int cublasLtDestroy(BlasHandle) { return kDone; }
int cublasLtMatmulDescCreate(BlasProduct* product, int compute, int scale) {
  *product = reinterpret_cast<BlasProduct>(new Described{compute, scale});
  return kDone;
}
int cublasLtMatmulDescDestroy(BlasProduct product) { return delete &of(product), kDone; }
int cublasLtMatmulDescSetAttribute(BlasProduct product, int attribute, const void* value, size_t bytes) {
  const auto set = [&](auto& field) {
    if (bytes != sizeof field) return kInvalid;
    std::memcpy(&field, value, bytes);
    return kDone;
  };
  if (attribute == kTransposeA) return set(of(product).transpose_a);
  if (attribute == kEpilogue) return set(of(product).epilogue);
  if (attribute == kBiasPointer) return set(of(product).bias);
  return kInvalid;
}
int cublasLtMatrixLayoutCreate(BlasLayout* layout, int type, uint64_t rows, uint64_t cols, int64_t stride) {
  if (static_cast<uint64_t>(stride) < rows) return kInvalid;
  *layout = reinterpret_cast<BlasLayout>(new Matrix{type, rows, cols, stride});
  return kDone;
}
int cublasLtMatrixLayoutDestroy(BlasLayout layout) { return delete &of(layout), kDone; }
int cublasLtMatmulPreferenceCreate(BlasPreference* preference) {
  *preference = reinterpret_cast<BlasPreference>(new size_t{0});
  return kDone;
}
int cublasLtMatmulPreferenceDestroy(BlasPreference preference) {
  return delete reinterpret_cast<size_t*>(preference), kDone;
}
int cublasLtMatmulPreferenceSetAttribute(BlasPreference, int attribute, const void*, size_t bytes) {
  return attribute == kMostWorkspace && bytes == sizeof(size_t) ? kDone : kInvalid;
}
int cublasLtMatmulAlgoGetHeuristic(BlasHandle, BlasProduct product, BlasLayout a, BlasLayout b, BlasLayout,
                                   BlasLayout d, BlasPreference, int wanted, BlasFound* found, int* n_found) {
  if (simt_settings.blas_refuses) return kNotSupported;
  if (wanted < 1 || !fits(of(product), of(a), of(b), of(d))) return kInvalid;
  found[0] = {{{7}}, kBlasWorkspaceBytes / 2, kDone, 1, {}};
  *n_found = 1;
  return kDone;
}
int cublasLtMatmul(BlasHandle, BlasProduct product, const void* alpha, const void* a, BlasLayout a_layout,
                   const void* b, BlasLayout b_layout, const void* beta, const void* c, BlasLayout, void* d,
                   BlasLayout d_layout, const BlasAlgorithm* algorithm, void* workspace, size_t workspace_bytes,
                   Stream) {
  const Matrix &la = of(a_layout), &lb = of(b_layout), &ld = of(d_layout);
  const Described& p = of(product);
  const bool is_asked_right = *static_cast<const float*>(alpha) == 1 && *static_cast<const float*>(beta) == 0 &&
                              algorithm->data[0] == 7 && c == d && is_memory(workspace, workspace_bytes) &&
                              workspace_bytes >= kBlasWorkspaceBytes / 2 && fits(p, la, lb, ld) &&
                              is_memory(a, la.bytes()) && is_memory(b, lb.bytes()) && is_memory(d, ld.bytes());
  if (!is_asked_right || (p.epilogue == kEpilogueBias && !is_memory(p.bias, ld.rows * sizeof(float)))) return kInvalid;
  ++simt_settings.blas_products;
  simt_settings.ms += simt_settings.blas_is_slow ? 1.5 : 0.5;
  auto* out = static_cast<float*>(d);
  for (uint64_t col = 0; col < ld.cols; ++col)
    for (uint64_t row = 0; row < ld.rows; ++row) {
      float sum = 0;
      for (uint64_t k = la.rows; k-- > 0;) sum += la.at(a, k, row) * lb.at(b, k, col);
      if (p.epilogue == kEpilogueBias) sum += p.bias[row];
      out[row + col * static_cast<uint64_t>(ld.stride)] = simt_settings.blas_is_wrong ? -sum : sum;
    }
  return kDone;
}

}  // extern "C"
