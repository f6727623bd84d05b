#include "engine/base/checksum.h"

#include <array>
#include <cstring>

#ifdef __x86_64__
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace longleaf {
namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // reflected

using Tables = std::array<std::array<uint32_t, 256>, 8>;

// tables[k][b]: the checksum of byte b followed by k zero bytes, so that eight bytes are folded per step.
constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? kPolynomial : 0);
    tables[0][b] = crc;
  }
  for (uint32_t b = 0; b < 256; ++b)
    for (size_t k = 1; k < 8; ++k) tables[k][b] = (tables[k - 1][b] >> 8) ^ tables[0][tables[k - 1][b] & 255];
  return tables;
}

constexpr Tables kTables = make_tables();

uint64_t word_at(const unsigned char* p) {
  uint64_t word;
  std::memcpy(&word, p, 8);
  return word;
}

uint32_t by_tables(const unsigned char* p, size_t size, uint32_t crc) {
  for (; size >= 8; size -= 8, p += 8) {
    const uint64_t word = word_at(p) ^ crc;
    crc = 0;
    for (size_t k = 0; k < 8; ++k) crc ^= kTables[7 - k][(word >> (8 * k)) & 255];
  }
  for (; size > 0; --size, ++p) crc = (crc >> 8) ^ kTables[0][(crc ^ *p) & 255];
  return crc;
}

// Processors have an instruction for this very polynomial.
#ifdef __x86_64__
__attribute__((target("sse4.2"))) uint32_t by_instruction(const unsigned char* p, size_t size, uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; size -= 8, p += 8) wide = _mm_crc32_u64(wide, word_at(p));
  crc = static_cast<uint32_t>(wide);
  for (; size > 0; --size, ++p) crc = _mm_crc32_u8(crc, *p);
  return crc;
}
bool has_instruction() { return __builtin_cpu_supports("sse4.2") != 0; }
#elif defined(__aarch64__) && defined(__linux__)
__attribute__((target("+crc"))) uint32_t by_instruction(const unsigned char* p, size_t size, uint32_t crc) {
  for (; size >= 8; size -= 8, p += 8) crc = __crc32cd(crc, word_at(p));
  for (; size > 0; --size, ++p) crc = __crc32cb(crc, *p);
  return crc;
}
bool has_instruction() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#else
uint32_t by_instruction(const unsigned char* p, size_t size, uint32_t crc) { return by_tables(p, size, crc); }
bool has_instruction() { return false; }
#endif

}  // namespace

uint32_t crc32c(const void* data, size_t size, uint32_t seed) {
  static const auto sum = has_instruction() ? by_instruction : by_tables;
  return ~sum(static_cast<const unsigned char*>(data), size, ~seed);
}

uint32_t crc32c_by_tables(const void* data, size_t size, uint32_t seed) {
  return ~by_tables(static_cast<const unsigned char*>(data), size, ~seed);
}

}  // namespace longleaf
