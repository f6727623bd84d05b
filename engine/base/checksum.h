// CRC-32C (Castagnoli, RFC 3720 appendix B.4): tells damaged bytes from whole ones. Not a defence against forgery.
// Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

namespace longleaf {

// Continues `seed` (0 to begin) over `size` bytes.
uint32_t crc32c(const void* data, size_t size, uint32_t seed = 0);
// The same where the processor has no instruction for it.
uint32_t crc32c_by_tables(const void* data, size_t size, uint32_t seed = 0);

// 64-bit FNV-1a of `text`, continued from `seed`: a key for "was it made from the same input".
inline uint64_t fingerprint(std::string_view text, uint64_t seed = 0xcbf29ce484222325ull) {
  for (unsigned char c : text) seed = (seed ^ c) * 0x100000001b3ull;
  return seed;
}

// … of the bytes of numbers.
template <typename T>
uint64_t fingerprint(const std::vector<T>& numbers, uint64_t seed) {
  static_assert(std::is_arithmetic_v<T>);
  return fingerprint({reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)}, seed);
}

}  // namespace longleaf
