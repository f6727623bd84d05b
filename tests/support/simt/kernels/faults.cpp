// Kernels with the faults that people plant in kernels, each beside the right one: what the emulator is for.
// All reverse blocks of 128 numbers: out[b, i] = x[b, 127 - i], but those that say otherwise.
#include "tests/support/simt/faults.h"
#include "tests/support/simt/entries.h"

using longleaf::test::FaultArgs;
using namespace longleaf::kernels::cuda;

namespace {

constexpr int kBlock = 128;

int own_thread() { return static_cast<int>(threadIdx.x); }
int own_index() { return static_cast<int>(blockIdx.x) * kBlock + own_thread(); }

template <bool kRight>
void barrier(const FaultArgs a) {
  __shared__ float block[kBlock];
  block[own_thread()] = a.x[own_index()];
  if (kRight) __syncthreads();
  a.out[own_index()] = block[kBlock - 1 - own_thread()];
}

// Between reading what was written and writing anew: 2x - x.
template <bool kRight>
void second_barrier(const FaultArgs a) {
  __shared__ float block[kBlock];
  float sum = 0;
  for (const float factor : {2.0f, -1.0f}) {
    block[own_thread()] = factor * a.x[own_index()];
    __syncthreads();
    sum += block[kBlock - 1 - own_thread()];
    if (kRight) __syncthreads();
  }
  a.out[own_index()] = sum;
}

template <bool kRight>
void early_return(const FaultArgs a) {
  __shared__ float block[kBlock];
  if (!kRight && own_thread() >= 100) return;
  block[own_thread()] = a.x[own_index()];
  __syncthreads();
  a.out[own_index()] = block[kBlock - 1 - own_thread()];
}

template <bool kRight>
void two_barriers(const FaultArgs a) {
  __shared__ float block[kBlock];
  block[own_thread()] = a.x[own_index()];
  if (!kRight && own_thread() < 64)
    __syncthreads();
  else
    __syncthreads();
  a.out[own_index()] = block[kBlock - 1 - own_thread()];
}

template <bool kRight>
void missing_lanes(const FaultArgs a) {  // within warps: out[i] = x[i ^ 1]
  float x = a.x[own_index()];
  if (kRight || own_thread() % 32 < 20) x = __shfl_xor_sync(0xffffffffu, x, 1);
  a.out[own_index()] = x;
}

template <bool kRight>
void off_by_one(const FaultArgs a) {  // out[i] = x[i ^ 1]
  for (int i = own_index(); kRight ? i < a.n : i <= a.n; i += kBlock * static_cast<int>(gridDim.x))
    a.out[i] = i < a.n ? a.x[i ^ 1] : 0.0f;
}

template <bool kRight>
void stride(const FaultArgs a) {  // a tile of 32 x 4, transposed within the block
  __shared__ float tile[4][32];
  tile[own_thread() / 32][own_thread() % 32] = a.x[own_index()];
  __syncthreads();
  const float* flat = tile[0];
  a.out[own_index()] = flat[own_thread() % 4 * (kRight ? 32 : 33) % kBlock + own_thread() / 4];
}

template <bool kRight>
void copies(const FaultArgs a) {
  auto* block = reinterpret_cast<float*>(shared_bytes());
  copy_ahead<4>(block + own_thread(), a.x + own_index());
  end_of_group();
  if (kRight) wait_for_copies<0>();
  __syncthreads();
  a.out[own_index()] = block[kBlock - 1 - own_thread()];
}

template <bool kRight>
void shared_size(const FaultArgs a) {  // the launch gives it 512 bytes
  auto* block = reinterpret_cast<float*>(shared_bytes());
  block[own_thread() + (kRight ? 0 : 1)] = a.x[own_index()];
  __syncthreads();
  a.out[own_index()] = block[kBlock - 1 - own_thread() + (kRight ? 0 : 1)];
}

#define FAULT(name)                                                                         \
  const simt::Registration name##_right(#name "_right", simt::Caller<&name<true>>::kEntry); \
  const simt::Registration name##_wrong(#name "_wrong", simt::Caller<&name<false>>::kEntry);
FAULT(barrier)
FAULT(second_barrier)
FAULT(early_return)
FAULT(two_barriers)
FAULT(missing_lanes)
FAULT(off_by_one)
FAULT(stride)
FAULT(copies)
FAULT(shared_size)

}  // namespace
