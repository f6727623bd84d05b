// The operations of training on a card: which kernel, which grid. See kernels/training.h.
#include "kernels/cuda/training.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/cuda/gemm_tiles.h"
#include "kernels/cuda/gpu.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/planes.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kMostSums = 512;  // of squares

Status copy(void* self, DevicePtr from, DevicePtr to, size_t bytes) {
  const auto n = static_cast<int64_t>(bytes / sizeof(float));
  return over_numbers(self, "copy_numbers", n, CopyArgs{as<float>(from), as<float>(to), n});
}

Status unpack(void* self, const Weight& rows, DevicePtr packed, DevicePtr out) {
  const int64_t n =
      int64_t{rows.rows} * rows.cols / (is_quantized(rows.type) ? 8 : 1);  // a thread takes eight of a block
  return over_numbers(self, std::string("unpack_") + name_of(rows.type), n,
                      UnpackArgs{as<uint8_t>(packed), as<float>(out), rows.rows, rows.cols});
}

Status gemm(void* self, const GemmArgs& args) {
  if (args.m == 0 || args.n == 0) return {};
  const int tile = tile_for(args.m, args.n, gpu(self).device->card().multiprocessors);
  return gpu(self).device->launch("gemm_" + std::to_string(tile), {pieces(args.n, tile), pieces(args.m, tile)},
                                  kGemmThreads, 0, args);
}

Status rms_norm_back(void* self, const NormBack& args) {
  if (args.rows == 0) return {};
  Gpu& g = gpu(self);
  LL_ASSIGN_OR_RETURN(const DevicePtr inverse, g.partial.at_least(static_cast<size_t>(args.rows) * sizeof(float)));
  const NormBackArgs all{args, as<float>(inverse)};
  LL_RETURN_IF_ERROR(over_rows(self, "rms_norm_back", args.rows, args.cols, all));
  if (args.dweight == nullptr) return {};
  return g.device->launch("norm_weight_back", {pieces(args.cols, kWarp)}, kSliceThreads, 0, all);
}

Status gate_back(void* self, const GateBack& args) { return over_numbers(self, "gate_back", args.n, args); }

Status cross_entropy(void* self, const CrossEntropy& args) {
  return over_rows(self, "cross_entropy", args.rows, args.cols, args);
}
Status softmax(void* self, const SoftmaxArgs& args) { return over_rows(self, "softmax", args.rows, args.cols, args); }
Status softmax_back(void* self, const SoftmaxArgs& args) {
  return over_rows(self, "softmax_back", args.rows, args.cols, args);
}

Status add_rows(void* self, DevicePtr rows, DevicePtr ids, int n, int cols, DevicePtr x) {
  const int work = std::max(n, cols);  // ids are looked at by all threads
  return over_rows(self, "add_rows", n, work, AddRowsArgs{as<float>(rows), as<int32_t>(ids), as<float>(x), n, cols});
}

Status scale_rows(void* self, DevicePtr x, DevicePtr factors, int rows, int cols, DevicePtr out, bool add) {
  return over_rows(self, "scale_rows", rows, cols,
                   ScaleRowsArgs{as<float>(x), as<float>(factors), as<float>(out), cols, add});
}

Status dot_rows(void* self, DevicePtr x, DevicePtr y, int rows, int cols, DevicePtr out) {
  return over_rows(self, "dot_rows", rows, cols, DotRowsArgs{as<float>(x), as<float>(y), as<float>(out), cols});
}

Status leaky(void* self, DevicePtr x, float slope, int64_t n, DevicePtr y) {
  return over_numbers(self, "leaky", n, LeakyArgs{as<float>(x), nullptr, as<float>(y), n, slope});
}

Status leaky_back(void* self, DevicePtr x, DevicePtr dy, float slope, int64_t n, DevicePtr dx) {
  return over_numbers(self, "leaky_back", n, LeakyArgs{as<float>(x), as<float>(dy), as<float>(dx), n, slope});
}

float share(float beta, int64_t step) {
  return static_cast<float>(1 - std::pow(double{beta}, static_cast<double>(step)));
}

Status adam(void* self, const AdamStep& step) {
  return over_numbers(self, "adam", step.n, AdamArgs{step, share(step.beta1, step.step), share(step.beta2, step.step)});
}

Result<double> squares(void* self, DevicePtr x, int64_t n) {
  if (n == 0) return 0.0;
  Gpu& g = gpu(self);
  std::vector<double> sums(std::min<size_t>(pieces(n, kSumThreads), kMostSums));
  const size_t bytes = sums.size() * sizeof(double);
  LL_ASSIGN_OR_RETURN(const DevicePtr partial, g.partial.at_least(bytes));
  LL_RETURN_IF_ERROR(g.device->launch("squares", {static_cast<unsigned>(sums.size())}, kSumThreads, 0,
                                      SquaresArgs{as<float>(x), as<double>(partial), n}));
  LL_RETURN_IF_ERROR(g.device->download(sums.data(), partial, bytes));
  double sum = 0;
  for (const double one : sums) sum += one;
  return sum;
}

}  // namespace

const TrainingOps& training_ops() {
  static const TrainingOps ops{copy,     true,        unpack,        gemm,    rms_norm_back, gate_back, takes_heads,
                               attend,   attend_back, cross_entropy, softmax, softmax_back,  add_rows,  scale_rows,
                               dot_rows, leaky,       leaky_back,    adam,    squares};
  return ops;
}

}  // namespace longleaf::kernels::cuda
