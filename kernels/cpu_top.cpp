// The largest numbers of rows: pieces of a row side by side, then what is best of all. See backend.h.
#include <cassert>
#include <numeric>

#include "kernels/cpu_device.h"
#include "kernels/ops_cpu.h"

namespace longleaf::kernels {
namespace {

constexpr int kAtOnce = 8192;  // columns

// Rows in pieces, which threads take one after another.
struct Pieces {
  const float* x;
  int rows, cols;
  int per_row() const { return (cols + kAtOnce - 1) / kAtOnce; }
  const float* row(int r) const { return x + int64_t{r} * cols; }

  // What use(row, first, last) returns for every piece.
  template <typename Use>
  auto each(Cpu& c, const Use& use) const {
    std::vector<decltype(use(0, 0, 0))> results(static_cast<size_t>(rows * per_row()));
    c.pool.parallel_for(rows * per_row(), 1, [&](int begin, int end, int) {
      for (int i = begin; i < end; ++i) {
        const int first = i % per_row() * kAtOnce;
        results[static_cast<size_t>(i)] = use(i / per_row(), first, std::min(cols, first + kAtOnce));
      }
    });
    return results;
  }
  template <typename T>
  std::span<const T> of_row(const std::vector<T>& results, int r) const {
    const auto n = static_cast<size_t>(per_row());
    return std::span(results).subspan(static_cast<size_t>(r) * n, n);
  }
};

// The first k of the columns that the pieces of a row found.
std::vector<int32_t> joined(std::span<const std::vector<int32_t>> found, const float* row, int k) {
  std::vector<int32_t> all;
  for (const auto& piece : found) all.insert(all.end(), piece.begin(), piece.end());
  const size_t n = std::min(all.size(), static_cast<size_t>(k));
  std::partial_sort(all.begin(), all.begin() + static_cast<long>(n), all.end(),
                    [row](int32_t a, int32_t b) { return twin::comes_before(row, a, b); });
  all.resize(n);
  return all;
}

}  // namespace

Status best(void* self, DevicePtr x, int rows, int cols, DevicePtr out) {
  const Pieces pieces{floats(x), rows, cols};
  const auto found =
      pieces.each(cpu(self), [&](int r, int first, int last) { return twin::best(pieces.row(r), first, last); });
  for (int r = 0; r < rows; ++r) {
    const float* row = pieces.row(r);
    int top = -1;
    for (const int at : pieces.of_row(found, r))
      if (at >= 0 && (top < 0 || row[at] > row[top])) top = at;
    reinterpret_cast<int32_t*>(out)[r] = std::max(top, 0);
  }
  return {};
}

Status top(void* self, const TopArgs& a) {
  assert(a.k > 0 && a.k <= kMostTop);
  const Pieces pieces{floats(a.x), a.rows, a.cols};
  const auto found =
      pieces.each(cpu(self), [&](int r, int first, int last) { return twin::top(pieces.row(r), first, last, a.k); });
  std::vector<float> largest;
  for (int r = 0; r < a.rows; ++r) {
    const float* row = pieces.row(r);
    auto* ids = reinterpret_cast<int32_t*>(a.ids) + int64_t{r} * a.k;
    float* values = floats(a.values) + int64_t{r} * a.k;
    std::fill_n(ids, a.k, -1);
    std::fill_n(values, a.k, -std::numeric_limits<float>::infinity());
    const auto first = joined(pieces.of_row(found, r), row, a.k);
    std::copy(first.begin(), first.end(), ids);
    std::transform(first.begin(), first.end(), values, [row](int32_t id) { return row[id]; });
    largest.push_back(values[0]);
  }
  if (a.sums == nullptr) return {};
  const auto sums = pieces.each(cpu(self), [&](int r, int first, int last) {
    return twin::softmax_sum(pieces.row(r), first, last, largest[static_cast<size_t>(r)], a.temperature);
  });
  for (int r = 0; r < a.rows; ++r) {
    const auto own = pieces.of_row(sums, r);
    reinterpret_cast<double*>(a.sums)[r] = std::accumulate(own.begin(), own.end(), 0.0);
  }
  return {};
}

}  // namespace longleaf::kernels
