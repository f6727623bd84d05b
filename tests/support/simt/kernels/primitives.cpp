// What lanes do together and what no kernel of ours uses yet: out[b, i], of what each comment says.
#include "tests/support/simt/entries.h"
#include "tests/support/simt/faults.h"

using longleaf::test::FaultArgs;

namespace {

constexpr unsigned kAll = 0xffffffffu;

void primitives(const FaultArgs a) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  float* out = a.out + 8 * (static_cast<int>(blockIdx.x * blockDim.x) + thread);
  out[0] = __shfl_sync(kAll, static_cast<float>(lane), 5);       // 5
  out[1] = __shfl_down_sync(kAll, static_cast<float>(lane), 3);  // lane + 3, and lane where there is none
  out[2] = static_cast<float>(__ballot_sync(kAll, lane < 3));    // 7
  out[3] = static_cast<float>(__any_sync(kAll, lane == 31));     // 1
  out[4] = static_cast<float>(__all_sync(kAll, lane != 31));     // 0
  __shared__ int sum, top;
  if (thread == 0) sum = top = 0;
  __syncthreads();
  atomicAdd(&sum, 2);
  atomicMax(&top, thread);
  __syncthreads();
  out[5] = static_cast<float>(sum);  // 2 * threads
  out[6] = static_cast<float>(top);  // threads - 1
  // Half a warp by itself: the other half is elsewhere.
  if (lane < 16)
    out[7] = __shfl_xor_sync(0xffffu, static_cast<float>(lane), 1);  // lane ^ 1
  else
    out[7] = -1;
}

const simt::Registration registered("primitives", simt::Caller<&primitives>::kEntry);

}  // namespace
