// Weights in every format, rounded to nearest: enough to see what a format costs.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "kernels/half.h"
#include "kernels/types.h"
#include "tests/support/fit_blocks.h"

namespace longleaf::test {

inline void put_half(std::string& out, float value) {
  const uint16_t bits = kernels::float_to_half(value);
  out.append(reinterpret_cast<const char*>(&bits), 2);
}

// REQUIRES: values.size() is a multiple of the format's block.
inline std::string quantized(kernels::DType type, const std::vector<float>& values) {
  using kernels::DType;
  std::string out;
  if (type == DType::F32) return {reinterpret_cast<const char*>(values.data()), values.size() * 4};
  const bool has_blocks = kernels::format_of(type).values > 1;
  const std::optional<BlockFitter> fitter = has_blocks ? std::optional<BlockFitter>(type) : std::nullopt;
  for (size_t i = 0; i < values.size(); i += static_cast<size_t>(kernels::format_of(type).values)) {
    if (type == DType::F16) {
      put_half(out, values[i]);
    } else if (type == DType::BF16) {
      const uint16_t bits = kernels::float_to_bfloat(values[i]);
      out.append(reinterpret_cast<const char*>(&bits), 2);
    } else {
      fitter->fit(&values[i], out);
    }
  }
  return out;
}

}  // namespace longleaf::test
