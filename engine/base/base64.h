// Base 64 (RFC 4648). Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace longleaf {

// The bytes that `text` stands for; what is no digit ends it.
inline std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int n = 0;
  for (char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if ((n += 6) < 8) continue;
    n -= 8;
    out += static_cast<char>(bits >> n & 255);
  }
  return out;
}

}  // namespace longleaf
