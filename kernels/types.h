// Number formats of tensors, as GGUF files store them, and opaque device addresses.
// Functions are static because fast_*.cpp compile them once per instruction set; see simd.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace longleaf::kernels {

// Bytes in a device's memory. Incomplete on purpose: only code of that device may look at what it points to.
struct DeviceByte;
using DevicePtr = DeviceByte*;

// `p` moved on by `bytes`.
inline DevicePtr at(DevicePtr p, size_t bytes) {
  return reinterpret_cast<DevicePtr>(reinterpret_cast<uintptr_t>(p) + bytes);
}

enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  Q8_0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ4_NL,
  IQ4_XS,
  MXFP4
};

// A row of a format is a run of blocks; each block holds `values` numbers in `bytes` bytes.
struct Format {
  DType type;
  const char* name;
  uint32_t ggml_id;  // the number that stands for it in GGUF files
  int values;
  int bytes;
};

// In the order of DType.
inline constexpr Format kFormats[] = {
    {DType::F32, "F32", 0, 1, 4},        {DType::F16, "F16", 1, 1, 2},          {DType::BF16, "BF16", 30, 1, 2},
    {DType::Q8_0, "Q8_0", 8, 32, 34},    {DType::Q4_0, "Q4_0", 2, 32, 18},      {DType::Q4_1, "Q4_1", 3, 32, 20},
    {DType::Q5_0, "Q5_0", 6, 32, 22},    {DType::Q5_1, "Q5_1", 7, 32, 24},      {DType::Q2_K, "Q2_K", 10, 256, 84},
    {DType::Q3_K, "Q3_K", 11, 256, 110}, {DType::Q4_K, "Q4_K", 12, 256, 144},   {DType::Q5_K, "Q5_K", 13, 256, 176},
    {DType::Q6_K, "Q6_K", 14, 256, 210}, {DType::IQ4_NL, "IQ4_NL", 20, 32, 18}, {DType::IQ4_XS, "IQ4_XS", 23, 256, 136},
    {DType::MXFP4, "MXFP4", 39, 32, 17},
};

static inline constexpr const Format& format_of(DType type) { return kFormats[static_cast<size_t>(type)]; }
static inline constexpr const char* name_of(DType type) { return format_of(type).name; }

// REQUIRES: cols is a multiple of the block's values.
static inline constexpr size_t row_bytes(DType type, int64_t cols) {
  return static_cast<size_t>(cols / format_of(type).values) * static_cast<size_t>(format_of(type).bytes);
}

// A matrix of weights as files store it: `rows` outputs, `cols` inputs, row-major blocks, in host memory.
struct Weight {
  DType type = DType::F32;
  int rows = 0;
  int cols = 0;
  const uint8_t* data = nullptr;
};

// A matrix of weights in the layout that its device multiplies with; made by Backend::pack, good for nothing else.
struct PackedWeight {
  DType type = DType::F32;
  int rows = 0;
  int cols = 0;
  DevicePtr data = nullptr;
};

// What gates or bends the feed-forward part.
enum class Activation : int32_t {
  Silu,     // x / (1 + e^-x): SwiGLU (Shazeer, arXiv 2002.05202)
  Gelu,     // x / (1 + e^-2u) with u = sqrt(2/pi) (x + 0.044715 x^3), the tanh form (Hendrycks and Gimpel, 1606.08415)
  GeluErf,  // x (1 + erf(x / sqrt 2)) / 2, the form itself
};

// Which two numbers of a head form a rotated pair.
enum class RopeStyle : int32_t {
  Adjacent,  // (0,1) (2,3) …: llama files
  Halves,    // (0,n/2) (1,n/2+1) …: qwen2 files
};

}  // namespace longleaf::kernels
