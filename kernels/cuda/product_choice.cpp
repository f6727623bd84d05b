#include "kernels/cuda/product_choice.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "engine/base/log.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kLeastTokens = 64;  // below, a product is bound by reading weights, and a choice is worth nothing
constexpr int kRuns = 3;          // of which the fastest counts
// Of a row's largest number. Two orders of summing differ by far less; another product by more.
constexpr float kNoRounding = 1.0f / 16;

bool all_finite(std::span<const float> x) {
  return std::all_of(x.begin(), x.end(), [](float value) { return std::isfinite(value); });
}

bool agree(std::span<const float> a, std::span<const float> b) {
  float largest = 0, apart = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i]));
    apart = std::isfinite(b[i]) ? std::max(apart, std::abs(a[i] - b[i])) : INFINITY;
  }
  return apart <= largest * kNoRounding;
}

Result<float> fastest(Device& device, const std::function<Status()>& work) {
  float least = INFINITY;
  for (int i = 0; i < kRuns; ++i) {
    LL_ASSIGN_OR_RETURN(const float ms, device.time(work));
    least = std::min(least, ms);
  }
  return least;
}

}  // namespace

// Without memory for its workspace there is no library, until the device is opened anew.
bool ProductChoice::has_library() {
  if (has_looked_) return blas_ != nullptr;
  has_looked_ = true;
  if (device_.stream().ok()) blas_ = Blas::open(library_);
  if (blas_ != nullptr && !memory_.at_least(kBlasWorkspaceBytes).ok()) blas_.reset();
  return blas_ != nullptr;
}

Status ProductChoice::by_library(DType type, const ProductArgs& args) {
  LL_ASSIGN_OR_RETURN(const Stream stream, device_.stream());
  LL_ASSIGN_OR_RETURN(const DevicePtr memory, memory_.at_least(kBlasWorkspaceBytes));
  if (blas_->multiply(type, args, memory, stream)) return {};
  return Status(Code::Unsupported, "The library of products refuses");
}

// Of the first token and of the last.
Result<std::vector<float>> ProductChoice::sample(const ProductArgs& args) {
  const auto rows = static_cast<size_t>(args.rows);
  const auto out = reinterpret_cast<DevicePtr>(args.out);
  std::vector<float> some(2 * rows);
  LL_RETURN_IF_ERROR(device_.download(some.data(), out, rows * sizeof(float)));
  const size_t last = static_cast<size_t>(args.n_tokens - 1) * rows * sizeof(float);
  LL_RETURN_IF_ERROR(device_.download(some.data() + rows, at(out, last), rows * sizeof(float)));
  return some;
}

Status ProductChoice::measure(const Shape& shape, DType type, const ProductArgs& args,
                              const std::function<Status()>& own) {
  LL_ASSIGN_OR_RETURN(const auto theirs, sample(args));
  LL_RETURN_IF_ERROR(own());
  LL_ASSIGN_OR_RETURN(const auto ours, sample(args));
  if (!all_finite(ours)) return {};  // nothing to compare; the next one tells
  if (!agree(ours, theirs)) {
    log(LogLevel::Warning, "NVIDIA's library of matrix products gives other results than our kernels; it is not used");
    blas_.reset();
    return {};
  }
  LL_ASSIGN_OR_RETURN(const float own_ms, fastest(device_, own));
  LL_ASSIGN_OR_RETURN(const float library_ms, fastest(device_, [&] { return by_library(type, args); }));
  library_is_faster_[shape] = library_ms < own_ms;
  return library_ms < own_ms ? Status() : own();
}

Status ProductChoice::multiply(DType type, const ProductArgs& args, const std::function<Status()>& own) {
  const bool is_plain = type == DType::BF16 || type == DType::F32;
  if (!is_plain || args.n_tokens < kLeastTokens || device_.is_recording() || !has_library()) return own();
  const Shape shape{type, args.rows, args.cols, static_cast<int>(std::bit_ceil(static_cast<unsigned>(args.n_tokens)))};
  const auto known = library_is_faster_.find(shape);
  if (known != library_is_faster_.end() && !known->second) return own();
  const Status status = by_library(type, args);
  if (!status.ok()) {
    library_is_faster_[shape] = false;  // bfloats on Turing, for one
    return own();                       // which also says whether the card is lost
  }
  return known != library_is_faster_.end() ? Status() : measure(shape, type, args, own);
}

}  // namespace longleaf::kernels::cuda
