// The k largest numbers of rows, in order: see TopArgs in backend.h. A block of threads per row looks for a rank that
// at least k numbers have, digit by digit, as a radix sort does (Alabi et al., ACM JEA 17, 2012), takes those and sorts
// them. The first digit is a number's place between the largest and the smallest: counts of bits would meet in a few
// bins, for logits have a few exponents.
#include "kernels/cuda/args.h"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

constexpr int kPlaces = 2048;  // of the first digit
constexpr int kDigits = 256;   // of the others, which are bytes of a rank
constexpr int kTaken = 2048;   // numbers that can be sorted: at least kMostTop

__device__ inline int own_thread() { return static_cast<int>(threadIdx.x); }
__device__ inline int all_threads() { return static_cast<int>(blockDim.x); }
__device__ inline bool is_number(float x) { return x > -INFINITY; }

// Smaller for larger numbers, and for the first of equal ones. No two are the same.
__device__ inline uint64_t rank_of(float x, int column) {
  const uint32_t bits = bits_of(x + 0.0f);  // both zeros are one
  const uint32_t descending = bits & 0x80000000u ? bits : 0x7fffffffu - bits;
  return uint64_t{descending} << 32 | static_cast<uint32_t>(column);
}

struct Range {
  float largest, places_per_one;  // infinite where all are equal

  // Larger for smaller numbers, and the same for the same.
  __device__ int place_of(float x) const {
    if (x >= largest) return 0;
    const float place = (largest - x) * places_per_one;
    return place < kPlaces - 1 ? static_cast<int>(place) : kPlaces - 1;  // also what is none
  }
};

// Which numbers are wanted: those of a smaller place, and of this one those whose rank begins with no more than
// `prefix`.
struct Cut {
  int place = 0;
  uint64_t prefix = 0;
  int bytes = 0;  // of the prefix

  __device__ bool begins_so(uint64_t rank) const { return bytes == 0 || rank >> (64 - 8 * bytes) == prefix; }
  __device__ bool takes(int of, uint64_t rank) const {
    return of < place || (of == place && (bytes == 0 || rank >> (64 - 8 * bytes) <= prefix));
  }
};

struct Shared {
  uint32_t counts[kPlaces];
  uint64_t taken[kTaken];
  float largest[kMostWarps], smallest[kMostWarps], sums[kMostWarps];
  int digit, before, n_taken;
  int wanted;  // k, or how many numbers there are
};

// The first warp finds the digit at which, with the `before` numbers in front of all, `wanted` are reached. `is_first`:
// all numbers have been counted, and there may be too few.
__device__ inline void find_digit(Shared& s, int digits, int before, bool is_first) {
  const int lane = own_thread() % kWarpThreads, each = digits / kWarpThreads;
  int own = 0;
  for (int i = 0; i < each; ++i) own += static_cast<int>(s.counts[lane * each + i]);
  int up_to = own;
  for (int by = 1; by < kWarpThreads; by *= 2) {
    const int other = __shfl_sync(kAllLanes, up_to, lane - by);
    if (lane >= by) up_to += other;
  }
  const int all = __shfl_sync(kAllLanes, up_to, kWarpThreads - 1);
  const int wanted = is_first && all < s.wanted ? all : s.wanted;
  __syncwarp();
  if (lane == 0) s.wanted = wanted;
  int reached = before + up_to - own;
  if (reached >= wanted || reached + own < wanted) return;
  for (int i = lane * each;; ++i) {
    const int more = static_cast<int>(s.counts[i]);
    if (reached + more >= wanted) {
      s.digit = i;
      s.before = reached;
      return;
    }
    reached += more;
  }
}

// Ascending; n is a power of two. Batcher's bitonic sort.
__device__ inline void sort(uint64_t* x, int n) {
  for (int size = 2; size <= n; size *= 2)
    for (int stride = size / 2; stride > 0; stride /= 2) {
      for (int i = own_thread(); i < n / 2; i += all_threads()) {
        const int low = 2 * i - (i & (stride - 1)), high = low + stride;
        const bool ascends = (low & size) == 0;
        const uint64_t a = x[low], b = x[high];
        if ((a > b) == ascends) x[low] = b, x[high] = a;
      }
      __syncthreads();
    }
}

__device__ inline Range range_of(const TopKernelArgs& a, const float* x, Shared& s) {
  float largest = -INFINITY, least = -INFINITY;  // the least is the largest of what is negated
  for (int c = own_thread(); c < a.cols; c += all_threads())
    if (is_number(x[c])) largest = fmaxf(largest, x[c]), least = fmaxf(least, -x[c]);
  largest = block_max(largest, s.largest);
  least = block_max(least, s.smallest);
  return {largest, kPlaces / (largest + least)};
}

// A cut that takes at least s.wanted numbers, and no more than can be sorted.
__device__ inline Cut find_cut(const TopKernelArgs& a, const float* x, const Range& range, Shared& s) {
  Cut cut;
  int before = 0;
  for (int bytes = 0; bytes <= 8; ++bytes) {
    const int digits = bytes == 0 ? kPlaces : kDigits;
    for (int i = own_thread(); i < digits; i += all_threads()) s.counts[i] = 0;
    __syncthreads();
    for (int c = own_thread(); c < a.cols; c += all_threads()) {
      if (!is_number(x[c])) continue;
      const int place = range.place_of(x[c]);
      const uint64_t rank = rank_of(x[c], c);
      if (bytes == 0)
        atomicAdd(&s.counts[place], 1u);
      else if (place == cut.place && cut.begins_so(rank))
        atomicAdd(&s.counts[rank >> (64 - 8 * bytes) & (kDigits - 1)], 1u);
    }
    __syncthreads();
    if (own_thread() < kWarpThreads) find_digit(s, digits, before, bytes == 0);
    __syncthreads();
    before = s.before;
    if (bytes == 0)
      cut.place = s.digit;
    else
      cut.prefix = cut.prefix << 8 | static_cast<uint64_t>(s.digit);
    cut.bytes = bytes;
    const bool is_enough = before + static_cast<int>(s.counts[s.digit]) <= kTaken;
    __syncthreads();  // the counts are done with
    if (is_enough) break;
  }
  return cut;
}

// Takes the numbers of the cut, in any order, and adds up the softmax of all.
__device__ inline void take(const TopKernelArgs& a, const float* x, const Range& range, const Cut& cut, Shared& s) {
  const float per_unit = 1 / a.temperature;
  float sum = 0, lost = 0;  // Kahan's sum: the last digits decide what a share of the whole is
  for (int c = own_thread(); c < a.cols; c += all_threads()) {
    if (!is_number(x[c])) continue;
    const uint64_t rank = rank_of(x[c], c);
    if (cut.takes(range.place_of(x[c]), rank)) s.taken[atomicAdd(&s.n_taken, 1)] = rank;
    const float more = expf((x[c] - range.largest) * per_unit) - lost;
    const float next = sum + more;
    lost = (next - sum) - more;
    sum = next;
  }
  if (a.sums == nullptr) return;
  sum = block_sum(sum, s.sums);
  if (own_thread() == 0) a.sums[blockIdx.x] = sum;
}

}  // namespace

// Grid: rows. Block: whole warps.
extern "C" __global__ void __launch_bounds__(1024) top(const TopKernelArgs a) {
  __shared__ Shared s;
  const float* x = a.x + int64_t{blockIdx.x} * a.cols;
  if (own_thread() == 0) {
    s.n_taken = s.digit = s.before = 0;
    s.wanted = a.k;
  }
  const Range range = range_of(a, x, s);  // all threads have met
  const Cut cut = find_cut(a, x, range, s);
  take(a, x, range, cut, s);
  __syncthreads();
  int room = 2;
  while (room < s.n_taken) room *= 2;
  for (int i = s.n_taken + own_thread(); i < room; i += all_threads()) s.taken[i] = ~uint64_t{0};
  __syncthreads();
  sort(s.taken, room);
  for (int i = own_thread(); i < a.k; i += all_threads()) {
    const int column = i < s.wanted ? static_cast<int>(s.taken[i] & 0xffffffffu) : -1;
    a.ids[int64_t{blockIdx.x} * a.k + i] = column;
    a.values[int64_t{blockIdx.x} * a.k + i] = column < 0 ? -INFINITY : x[column];
  }
}
