// Number formats of tensors, as GGUF files store them, and opaque device addresses.
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

enum class DType : uint8_t { F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K };

// A row of `DType` is a run of blocks; each block holds `values` numbers in `bytes` bytes.
struct BlockSize {
  int values;
  int bytes;
};

constexpr BlockSize block_size(DType type) {
  switch (type) {
    case DType::F32:
      return {1, 4};
    case DType::F16:
      return {1, 2};
    case DType::BF16:
      return {1, 2};
    case DType::Q8_0:
      return {32, 34};
    case DType::Q4_0:
      return {32, 18};
    case DType::Q4_K:
      return {256, 144};
    case DType::Q5_K:
      return {256, 176};
    case DType::Q6_K:
      return {256, 210};
  }
  return {1, 4};
}

constexpr const char* name_of(DType type) {
  switch (type) {
    case DType::F32:
      return "F32";
    case DType::F16:
      return "F16";
    case DType::BF16:
      return "BF16";
    case DType::Q8_0:
      return "Q8_0";
    case DType::Q4_0:
      return "Q4_0";
    case DType::Q4_K:
      return "Q4_K";
    case DType::Q5_K:
      return "Q5_K";
    case DType::Q6_K:
      return "Q6_K";
  }
  return "?";
}

// REQUIRES: cols is a multiple of the block's values.
constexpr size_t row_bytes(DType type, int64_t cols) {
  return static_cast<size_t>(cols / block_size(type).values) * static_cast<size_t>(block_size(type).bytes);
}

// A matrix of weights on a device: `rows` outputs, `cols` inputs, row-major blocks.
struct Weight {
  DType type = DType::F32;
  int rows = 0;
  int cols = 0;
  DevicePtr data = nullptr;
};

// Which two numbers of a head form a rotated pair.
enum class RopeStyle : int32_t {
  Adjacent,  // (0,1) (2,3) …: llama files
  Halves,    // (0,n/2) (1,n/2+1) …: qwen2 files
};

}  // namespace longleaf::kernels
