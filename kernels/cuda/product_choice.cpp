#include "kernels/cuda/product_choice.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <set>

#include "engine/base/log.h"
#include "kernels/cuda_backend.h"

namespace longleaf::kernels::cuda {
namespace {

constexpr int kLeastTokens = 64;   // below, a product is bound by reading weights, and a choice is worth nothing
constexpr int kRuns = 3;           // of which the fastest counts
constexpr float kWorthIt = 0.95f;  // of our kernel's time
// Of the largest number of a token's row. Two orders of summing differ by far less; another product by more.
constexpr float kNoRounding = 1.0f / 256;

std::atomic<bool> card_was_lost_with_it = false;  // in this program

bool all_finite(std::span<const float> x) {
  return std::all_of(x.begin(), x.end(), [](float value) { return std::isfinite(value); });
}

bool agree(std::span<const float> ours, std::span<const float> theirs) {
  float largest = 0, apart = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    largest = std::max(largest, std::abs(ours[i]));
    apart = std::isfinite(theirs[i]) ? std::max(apart, std::abs(ours[i] - theirs[i])) : INFINITY;
  }
  return apart <= largest * kNoRounding;
}

}  // namespace

// The library frees what it has on the card: in its context.
ProductChoice::~ProductChoice() {
  if (blas_ != nullptr && device_.stream().ok()) blas_.reset();
}

// Its workspace comes out of what is kept spare of a card: see kCudaSpareShare.
bool ProductChoice::has_library() {
  if (card_was_lost_with_it) return false;
  if (has_looked_) return blas_ != nullptr;
  has_looked_ = true;
  const MemoryInfo memory = device_.memory();
  const bool has_room = (memory.free_bytes + memory.used_bytes) / kCudaSpareShare >= 2 * kBlasWorkspaceBytes;
  if (!has_room || !device_.stream().ok()) return false;
  blas_ = Blas::open(library_);
  if (blas_ != nullptr && !memory_.at_least(kBlasWorkspaceBytes).ok()) blas_.reset();
  return blas_ != nullptr;
}

Status ProductChoice::by_library(DType type, const ProductArgs& args) {
  LL_ASSIGN_OR_RETURN(const Stream stream, device_.stream());
  LL_ASSIGN_OR_RETURN(const DevicePtr memory, memory_.at_least(kBlasWorkspaceBytes));
  if (blas_->multiply(type, args, memory, stream)) return {};
  return Status(Code::Unsupported, "The library of products refuses");
}

// The first token and the last, and those on both sides of where a tile may end.
Result<std::vector<float>> ProductChoice::sample(const ProductArgs& args) {
  constexpr int kTile = 128;
  const auto rows = static_cast<size_t>(args.rows);
  const auto out = reinterpret_cast<DevicePtr>(args.out);
  std::vector<float> some;
  for (const int token :
       std::set{0, std::min(kTile - 1, args.n_tokens - 1), std::min(kTile, args.n_tokens - 1), args.n_tokens - 1}) {
    some.resize(some.size() + rows);
    LL_RETURN_IF_ERROR(device_.download(
        &some[some.size() - rows], at(out, static_cast<size_t>(token) * rows * sizeof(float)), rows * sizeof(float)));
  }
  return some;
}

// Leaves our kernel's result, whatever is said.
Result<bool> ProductChoice::is_faster(DType type, const ProductArgs& args, const std::function<Status()>& own) {
  const auto theirs = sample(args);  // also where what it did has gone wrong
  card_was_lost_with_it = theirs.status().code() == Code::DeviceLost;
  LL_RETURN_IF_ERROR(theirs.status());
  LL_RETURN_IF_ERROR(own());
  LL_ASSIGN_OR_RETURN(const auto ours, sample(args));
  if (!all_finite(ours)) return false;  // nothing to compare
  const auto rows = static_cast<size_t>(args.rows);
  for (size_t begin = 0; begin < ours.size(); begin += rows) {
    if (agree(std::span(ours).subspan(begin, rows), std::span(*theirs).subspan(begin, rows))) continue;
    log(LogLevel::Warning, "NVIDIA's library of matrix products gives other results than our kernels; it is not used");
    blas_.reset();
    return false;
  }
  float own_ms = INFINITY, library_ms = INFINITY;
  for (int i = 0; i < kRuns; ++i) {  // side by side: a card's clock changes
    const auto library = device_.time([&] { return by_library(type, args); });
    if (library.status().code() == Code::Unsupported) break;
    LL_RETURN_IF_ERROR(library.status());
    LL_ASSIGN_OR_RETURN(const float ms, device_.time(own));
    library_ms = std::min(library_ms, *library);
    own_ms = std::min(own_ms, ms);
  }
  return library_ms < kWorthIt * own_ms;
}

Status ProductChoice::multiply(DType type, const ProductArgs& args, const std::function<Status()>& own) {
  const bool is_plain = type == DType::BF16 || type == DType::F32;
  if (!is_plain || args.n_tokens < kLeastTokens || device_.is_recording() || !has_library()) return own();
  const Shape shape{type, args.rows, args.cols, static_cast<int>(std::bit_ceil(static_cast<unsigned>(args.n_tokens)))};
  const auto known = library_is_faster_.find(shape);
  if (known != library_is_faster_.end() && !known->second) return own();
  if (!by_library(type, args).ok()) {
    library_is_faster_[shape] = false;  // bfloats on Turing, for one
    return own();                       // which also says whether the card is lost
  }
  if (known != library_is_faster_.end()) return {};
  LL_ASSIGN_OR_RETURN(library_is_faster_[shape], is_faster(type, args, own));
  return {};
}

}  // namespace longleaf::kernels::cuda
