// Block formats against files written by an independent reader (tests/data/make_blocks.py).
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "kernels/blocks.h"
#include "tests/support/check.h"

using namespace longleaf::kernels;

namespace {

std::vector<char> read(const std::string& name) {
  std::ifstream file(std::string(LONGLEAF_TEST_DATA) + "/blocks/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST(every_format_gives_exactly_what_an_independent_reader_gives) {
  for (const Format& format : kFormats) {
    const DType type = format.type;
    if (type == DType::F32) continue;
    const auto packed = read(std::string(name_of(type)) + ".packed"),
               expected = read(std::string(name_of(type)) + ".f32");
    REQUIRE(!packed.empty() && !expected.empty());
    std::vector<float> got(expected.size() / 4);
    dequantize_row(type, reinterpret_cast<const uint8_t*>(packed.data()), static_cast<int>(got.size()), got.data());
    size_t differing = 0;
    for (size_t i = 0; i < got.size(); ++i) differing += std::memcmp(&got[i], &expected[i * 4], 4) != 0;
    if (differing != 0) std::printf("%s: %zu of %zu values differ\n", name_of(type), differing, got.size());
    CHECK_EQ(differing, size_t{0});
  }
}

TEST(halves_survive_the_round_trip) {
  for (uint32_t h = 0; h < 0x10000; ++h) {
    const float f = half_to_float(static_cast<uint16_t>(h));
    if (f != f) continue;
    if (float_to_half(f) != h) return CHECK(false);
  }
  CHECK_EQ(float_to_half(1.0f + 0x1p-11f), 0x3c00);  // half way: to even
  CHECK_EQ(float_to_half(1.0f + 3 * 0x1p-11f), 0x3c02);
  CHECK_EQ(float_to_half(65520.0f), 0x7c00);
  CHECK_EQ(float_to_half(0x1p-25f), 0);
}
