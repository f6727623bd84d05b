// Weights in the simpler block formats, rounded to nearest: enough to see what a format costs. Blocks as ggml stores
// them (kernels/blocks.h reads them).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/half.h"
#include "kernels/types.h"

namespace longleaf::test {

inline void put_half(std::string& out, float value) {
  const uint16_t bits = kernels::float_to_half(value);
  out.append(reinterpret_cast<const char*>(&bits), 2);
}

// One block of 32 numbers. REQUIRES: type is Q8_0, Q4_0, Q4_1, Q5_0 or Q5_1.
inline void quantize_block(kernels::DType type, const float* x, std::string& out) {
  using kernels::DType;
  const auto [low, high] = std::minmax_element(x, x + 32);
  const bool has_min = type == DType::Q4_1 || type == DType::Q5_1;
  const int bits = type == DType::Q8_0 ? 8 : type == DType::Q5_0 || type == DType::Q5_1 ? 5 : 4;
  const int levels = 1 << bits, middle = has_min || bits == 8 ? 0 : levels / 2;
  const float largest = std::abs(*low) > std::abs(*high) ? *low : *high;
  const float scale = bits == 8 ? std::max(-*low, *high) / 127
                      : has_min ? (*high - *low) / static_cast<float>(levels - 1)
                                : largest / static_cast<float>(-middle);
  put_half(out, scale);
  if (has_min) put_half(out, *low);
  int codes[32];
  uint32_t fifth = 0;
  for (int i = 0; i < 32; ++i) {
    const float steps = scale == 0 ? 0 : (x[i] - (has_min ? *low : 0)) / scale;
    codes[i] = static_cast<int>(std::lround(steps)) + middle;
    codes[i] = bits == 8 ? codes[i] : std::clamp(codes[i], 0, levels - 1);
    fifth |= static_cast<uint32_t>(codes[i] >> 4 & 1) << i;
  }
  if (bits == 5) out.append(reinterpret_cast<const char*>(&fifth), 4);
  for (int i = 0; i < (bits == 8 ? 32 : 16); ++i)
    out.push_back(static_cast<char>(bits == 8 ? codes[i] : (codes[i] & 15) | (codes[i + 16] & 15) << 4));
}

// F32, F16, BF16, or what quantize_block takes. REQUIRES: values.size() is a multiple of the format's block.
inline std::string quantized(kernels::DType type, const std::vector<float>& values) {
  using kernels::DType;
  std::string out;
  if (type == DType::F32) return {reinterpret_cast<const char*>(values.data()), values.size() * 4};
  for (size_t i = 0; i < values.size(); i += static_cast<size_t>(kernels::format_of(type).values)) {
    if (type == DType::F16) {
      put_half(out, values[i]);
    } else if (type == DType::BF16) {
      const uint16_t bits = kernels::float_to_bfloat(values[i]);
      out.append(reinterpret_cast<const char*>(&bits), 2);
    } else {
      quantize_block(type, &values[i], out);
    }
  }
  return out;
}

}  // namespace longleaf::test
