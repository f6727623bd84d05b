// The input of a product in the form its weights want: codes of 8 bits, bfloats, halves or floats. See backend.h and
// args.h.
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

// The largest number of a row comes to stand below 2^15, so none is infinite, and none that matters is small for a
// half. Grid: (1, tokens). Block: whole warps.
extern "C" __global__ void prepare_halves(const PrepareArgs a) {
  __shared__ float tops[kMostWarps];
  const float* x = a.x + int64_t{blockIdx.y} * a.cols;
  uint16_t* out = a.halves + int64_t{blockIdx.y} * a.cols_padded;
  float top = 0;
  for (int c = threadIdx.x; c < a.cols; c += blockDim.x) top = fmaxf(top, fabsf(x[c]));
  top = block_max(top, tops);
  // 2^(14 - exponent) as bits; one where there are no numbers, or what is none.
  const int exponent = static_cast<int>(bits_of(top) >> 23) - 127;
  const bool is_plain = top > 0 && exponent < 128;
  const int shift = !is_plain ? 0 : 14 - exponent < 126 ? 14 - exponent : 126;
  const float scale = from_bits(static_cast<uint32_t>(127 + shift) << 23);
  for (int c = threadIdx.x; c < a.cols_padded; c += blockDim.x)
    out[c] = c < a.cols ? to_half(x[c] * scale) : uint16_t{0};
  if (threadIdx.x == 0) a.scales[blockIdx.y] = from_bits(static_cast<uint32_t>(127 - shift) << 23);
}

// Grid: (any, tokens). Block: any.
extern "C" __global__ void prepare_floats(const PrepareArgs a) {
  const float* x = a.x + int64_t{blockIdx.y} * a.cols;
  float* out = a.floats + int64_t{blockIdx.y} * a.cols_padded;
  for (int c = blockIdx.x * blockDim.x + threadIdx.x; c < a.cols_padded; c += gridDim.x * blockDim.x)
    out[c] = c < a.cols ? x[c] : 0.0f;
}
