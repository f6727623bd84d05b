// Random weights in every format, as files store them.
#pragma once

#include <cstring>
#include <optional>
#include <random>
#include <vector>

#include "kernels/types.h"

namespace longleaf::test {

// Numbers of a size near 1, or codes that are random bytes under modest scales.
//   fill  the byte that all codes are made of; random ones where there is none
inline std::vector<uint8_t> random_weight(kernels::DType type, int rows, int cols, std::mt19937& random,
                                          std::optional<uint8_t> fill = {}) {
  using kernels::DType;
  std::vector<uint8_t> bytes(kernels::row_bytes(type, cols) * static_cast<size_t>(rows));
  if (type == DType::F32) {
    std::normal_distribution<float> normal;
    for (size_t at = 0; at < bytes.size(); at += 4) {
      const float value = normal(random);
      std::memcpy(bytes.data() + at, &value, 4);
    }
    return bytes;
  }
  for (auto& b : bytes) b = fill.value_or(static_cast<uint8_t>(random()));
  // Halves in random bytes may be infinite or NaN: give them a modest exponent, and the exponents of MXFP4 too.
  const kernels::Format& format = kernels::format_of(type);
  const auto tame = [&](size_t at) { bytes[at + 1] = static_cast<uint8_t>((bytes[at + 1] & 0x83) | 0x30); };
  for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(format.bytes)) {
    if (type == DType::MXFP4) bytes[at] = static_cast<uint8_t>(120 + bytes[at] % 16);
    if (type == DType::MXFP4) continue;
    const bool at_end = type == DType::Q6_K || type == DType::Q3_K || type == DType::Q2_K;
    const bool two =
        type == DType::Q2_K || type == DType::Q4_K || type == DType::Q5_K || type == DType::Q4_1 || type == DType::Q5_1;
    const size_t first = at + (at_end ? static_cast<size_t>(format.bytes) - (two ? 4 : 2) : 0);
    tame(first);
    if (two) tame(first + 2);
  }
  return bytes;
}

}  // namespace longleaf::test
