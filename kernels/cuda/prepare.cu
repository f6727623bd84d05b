// The input of a product in the form its weights want: codes of 8 bits, bfloats or floats. See backend.h and args.h.
#include "kernels/cuda/args.h"
#include "kernels/cuda/numbers.cuh"
#include "kernels/cuda/planes.h"
#include "kernels/cuda/warp.cuh"

using namespace longleaf::kernels;
using namespace longleaf::kernels::cuda;

namespace {

constexpr float kLeastTop = 1e-35f;  // below it 127 / top is infinite; what is so small counts as zero

// The sum over the lanes of the own half of the warp.
__device__ inline int half_warp_sum(int x) {
  for (int bits = kWarpThreads / 4; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}

}  // namespace

// One warp per block of 32 columns. Grid: (blocks / warps of a block of threads, tokens).
extern "C" __global__ void prepare_codes(const PrepareArgs a) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int block = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / kWarpThreads);
  const int token = static_cast<int>(blockIdx.y), blocks = a.cols / kBlockCols;
  if (block >= blocks) return;
  const float x = a.x[int64_t{token} * a.cols + block * kBlockCols + lane];
  const float top = warp_max(fabsf(x));
  const bool is_number = __all_sync(kAllLanes, x - x == 0.0f) != 0;
  const bool is_zero = top < kLeastTop;
  // A number that is none makes the whole block none: its scale is NaN, its codes do not matter.
  const int code = is_number && !is_zero ? static_cast<int>(rintf(x * (127.0f / top))) : 0;
  const int word = lane / 4, place = word < 4 ? 2 * word : 2 * (word - 4) + 1;
  a.codes[(int64_t{token} * blocks + block) * kBlockCols + place * 4 + lane % 4] = static_cast<int8_t>(code);
  const int sum = half_warp_sum(code), other = __shfl_xor_sync(kAllLanes, sum, kWarpThreads / 2);
  if (lane != 0) return;
  const float scale = !is_number ? from_bits(0x7fc00000u) : is_zero ? 0.0f : top / 127.0f;
  Meta* metas = a.meta + int64_t{block} * a.tokens_padded;
  // What pads the tokens to an even number is read with its neighbour.
  if (token + 1 == static_cast<int>(gridDim.y) && token + 1 < a.tokens_padded) metas[token + 1] = {0, {0, 0}};
  metas[token] = {scale, {static_cast<int16_t>(sum), static_cast<int16_t>(other)}};
}

// Grid: (any, tokens). Block: any.
extern "C" __global__ void prepare_bfloats(const PrepareArgs a) {
  const float* x = a.x + int64_t{blockIdx.y} * a.cols;
  uint16_t* out = a.bfloats + int64_t{blockIdx.y} * a.cols_padded;
  for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < a.cols_padded; c += gridDim.x * blockDim.x)
    out[c] = c < a.cols ? to_bfloat(x[c]) : uint16_t{0};
}

// Grid: (any, tokens). Block: any.
extern "C" __global__ void prepare_floats(const PrepareArgs a) {
  const float* x = a.x + int64_t{blockIdx.y} * a.cols;
  float* out = a.floats + int64_t{blockIdx.y} * a.cols_padded;
  for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < a.cols_padded; c += gridDim.x * blockDim.x)
    out[c] = c < a.cols ? x[c] : 0.0f;
}
