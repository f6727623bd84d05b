// Matrix products of every weight format and every CPU version against the twin, and the twin against numbers worked
// out by hand.
#include <cstring>

#include "kernels/blocks.h"
#include "kernels/half.h"
#include "kernels/ops_cpu.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"
#include "tests/support/random_weight.h"

using namespace longleaf;
using namespace longleaf::kernels;
using namespace longleaf::test;

namespace {

// A random weight: as stored, and packed for a backend.
struct Matrix {
  Matrix(const Backend& backend, DType type, int n_rows, int n_cols, std::optional<uint8_t> fill = {})
      : stored(random_weight(type, n_rows, n_cols, rng, fill)), rows(n_rows), cols(n_cols) {
    const Weight w{type, rows, cols, stored.data()};
    memory = std::move(*Buffer::allocate(backend, backend.packed_bytes(backend.self, w)));
    CHECK(backend.pack(backend.self, w, memory.data()).ok());
    packed = {type, rows, cols, memory.data()};
  }

  // (2 * cols + 4) * unit * sum of what is added up, the standard bound of a sum whose terms are products of up to
  // three factors; a code and its minimum are terms of their own.
  std::vector<double> bounds(const std::vector<float>& x, const std::vector<float>& bias, int tokens) const {
    std::vector<double> bound, size(static_cast<size_t>(cols));
    bound.resize(static_cast<size_t>(tokens * rows));
    const Format& format = format_of(packed.type);
    const size_t stride = row_bytes(packed.type, cols);
    std::vector<float> values(static_cast<size_t>(cols));
    for (int r = 0; r < rows; ++r) {
      const uint8_t* row = stored.data() + static_cast<size_t>(r) * stride;
      dequantize_row(packed.type, row, cols, values.data());
      for (int c = 0; c < cols; ++c) size[static_cast<size_t>(c)] = std::abs(double{values[static_cast<size_t>(c)]});
      for (int first = 0; format.values > 1 && first < cols; first += format.values, row += format.bytes) {
        Block block;
        unpack_block(packed.type, row, block);
        for (int i = 0; i < format.values; ++i)
          size[static_cast<size_t>(first + i)] += 2 * std::abs(double{block.dmin} * block.min[i / kGroupValues]);
      }
      for (int t = 0; t < tokens; ++t) {
        double sum = std::abs(double{bias[static_cast<size_t>(r)]}) + 1e-30, top = 0;
        for (int c = 0; c < cols; ++c) {
          const double input = std::abs(double{x[static_cast<size_t>(t * cols + c)]});
          top = std::max(top, input);
          sum += size[static_cast<size_t>(c)] * (input + (format.values > 1 ? top / 127 : 0));
        }
        bound[static_cast<size_t>(t * rows + r)] = (2 * cols + 4) * kUnit * sum;
      }
    }
    return bound;
  }

  std::vector<uint8_t> stored;
  int rows, cols;
  Buffer memory;
  PackedWeight packed;
};

// The input as a device takes it, where that is no part of the twin: see Backend::matmul.
std::vector<float> as_taken(DType type, std::vector<float> x, int tokens) {
  if (test_gpu() == nullptr || type != DType::F16 || tokens <= kSameBits) return x;
  const size_t cols = x.size() / static_cast<size_t>(tokens);
  for (size_t begin = 0; begin < x.size(); begin += cols) {
    float top = 0;
    for (size_t i = begin; i < begin + cols; ++i) top = std::max(top, std::abs(x[i]));
    const int shift = 14 - std::ilogb(top);
    for (size_t i = begin; i < begin + cols; ++i)
      x[i] = std::ldexp(half_to_float(float_to_half(std::ldexp(x[i], shift))), -shift);
  }
  return x;
}

}  // namespace

TEST(matmul_twin_matches_a_row_worked_out_by_hand) {
  // One block: scale 1 (0x3c00), codes 1, -2, 0 …; the input 127, 63.5 … rounds to 127, 64 (half to even).
  std::vector<uint8_t> block(34, 0);
  block[1] = 0x3c;
  block[2] = 1;
  block[3] = static_cast<uint8_t>(-2);
  std::vector<float> x(32, 0.0f), out = {kNaN};
  x[0] = 127;
  x[1] = 63.5f;
  twin::matmul({DType::Q8_0, 1, 32, ptr(block)}, nullptr, x.data(), 1, out.data());
  CHECK_EQ(out[0], 127.0f - 128.0f);
}

TEST(matmul_agrees_with_its_twin_for_every_format_and_remainder) {
  for (auto& backend : backends()) {
    for (const Format& format : kFormats) {
      for (int rows : {1, 3, 16, 37}) {
        for (int tokens : {1, 2, 4, 7, 16, 37}) {
          const int cols = format.values == 1 ? 67 : format.values == 32 ? 96 : 512;
          Matrix m(*backend, format.type, rows, cols);
          auto x = random_floats(static_cast<size_t>(tokens * cols)), bias = random_floats(static_cast<size_t>(rows));
          std::vector<float> expected(static_cast<size_t>(tokens * rows)), got(expected.size(), kNaN);
          const auto taken = as_taken(format.type, x, tokens);
          twin::matmul({format.type, rows, cols, ptr(m.stored)}, bias.data(), taken.data(), tokens, expected.data());
          const OnDevice in(*backend, x), b(*backend, bias), out(*backend, got);
          const Product product{m.packed, b.data(), out.data()};
          CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
          const double ratio = worst(expected, out.read(), m.bounds(x, bias, tokens));
          if (!(ratio <= 1.0))
            std::printf("%s %s %d rows %d tokens: %g\n", backend->name.c_str(), format.name, rows, tokens, ratio);
          CHECK(ratio <= 1.0);
        }
      }
    }
  }
}

// Numbers far apart, and larger than a half can hold.
TEST(inputs_of_half_weights_may_be_any_numbers) {
  for (auto& backend : backends()) {
    const int rows = 37, cols = 67, tokens = 20;
    Matrix m(*backend, DType::F16, rows, cols);
    auto x = random_floats(static_cast<size_t>(tokens * cols));
    const std::vector<float> bias(static_cast<size_t>(rows), 0.0f);
    for (int t = 0; t < tokens; ++t)
      for (int c = 0; c < cols; ++c) x[static_cast<size_t>(t * cols + c)] *= std::ldexp(1.0f, 12 * (t - 10));
    x[0] *= 1000;
    std::vector<float> expected(static_cast<size_t>(tokens * rows));
    const auto taken = as_taken(DType::F16, x, tokens);
    twin::matmul({DType::F16, rows, cols, ptr(m.stored)}, nullptr, taken.data(), tokens, expected.data());
    const OnDevice in(*backend, x), out(*backend, std::vector<float>(expected.size(), kNaN));
    const Product product{m.packed, nullptr, out.data()};
    CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
    CHECK(worst(expected, out.read(), m.bounds(x, bias, tokens)) <= 1.0);
  }
}

// The oldest cards have no tensor cores for bfloats.
TEST(bfloats_are_multiplied_on_turing_cards_too) {
  if (test_gpu() == nullptr || std::string(test_gpu()) == "gpu") return;
  simt_settings(test_gpu())->compute = 75;
  const BackendPtr backend = make_test_gpu();
  simt_settings(test_gpu())->compute = 90;
  for (int tokens : {8, 9, 70, 150}) {
    const int rows = 37, cols = 67;
    Matrix m(*backend, DType::BF16, rows, cols);
    const auto x = random_floats(static_cast<size_t>(tokens * cols)), bias = random_floats(static_cast<size_t>(rows));
    std::vector<float> expected(static_cast<size_t>(tokens * rows));
    twin::matmul({DType::BF16, rows, cols, ptr(m.stored)}, bias.data(), x.data(), tokens, expected.data());
    const OnDevice in(*backend, x), b(*backend, bias), out(*backend, std::vector<float>(expected.size(), kNaN));
    const Product product{m.packed, b.data(), out.data()};
    CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
    CHECK(worst(expected, out.read(), m.bounds(x, bias, tokens)) <= 1.0);
  }
}

namespace {

// Products of one shape on an emulated card that has a library of products, as `settings` are.
struct WithLibrary {
  explicit WithLibrary(int n_tokens) : tokens(n_tokens), emulator(test_gpu()) {
    emulator.settings.has_blas = true;
    backend = make_test_gpu();
  }
  // Right, whoever multiplied; returns how often that was the library.
  int products(DType type, bool has_bias, float first = 1) {
    const int rows = 200, cols = 67, before = emulator.settings.blas_products;
    Matrix m(*backend, type, rows, cols);
    auto x = random_floats(static_cast<size_t>(tokens * cols));
    const auto bias = random_floats(static_cast<size_t>(rows)), none = std::vector<float>(bias.size(), 0.0f);
    x[0] *= first;
    std::vector<float> expected(static_cast<size_t>(tokens * rows));
    const auto taken = as_taken(type, x, tokens);
    twin::matmul({type, rows, cols, ptr(m.stored)}, has_bias ? bias.data() : nullptr, taken.data(), tokens,
                 expected.data());
    const OnDevice in(*backend, x), b(*backend, bias), out(*backend, std::vector<float>(expected.size(), kNaN));
    const Product product{m.packed, has_bias ? b.data() : nullptr, out.data()};
    CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
    if (std::isfinite(first)) CHECK(worst(expected, out.read(), m.bounds(x, has_bias ? bias : none, tokens)) <= 1.0);
    return emulator.settings.blas_products - before;
  }
  int tokens;
  Emulator emulator;
  BackendPtr backend;
};

bool is_emulated() { return test_gpu() != nullptr && std::string(test_gpu()) != "gpu"; }

}  // namespace

TEST(the_faster_of_two_products_is_taken) {
  if (!is_emulated()) return;
  for (DType type : {DType::BF16, DType::F32}) {
    WithLibrary quick(70);
    CHECK_EQ(quick.products(type, true), 4);  // compared, and measured three times
    CHECK_EQ(quick.products(type, false), 1);
    quick.tokens = 100;  // up to 128: the same shape
    CHECK_EQ(quick.products(type, true), 1);
    quick.tokens = 130;
    CHECK_EQ(quick.products(type, true), 4);
    WithLibrary slow(70);
    slow.emulator.settings.blas_is_slow = true;
    CHECK_EQ(slow.products(type, true), 4);
    CHECK_EQ(slow.products(type, true), 0);
  }
}

TEST(a_library_of_products_that_is_wrong_or_refuses_is_not_used) {
  if (!is_emulated()) return;
  {
    WithLibrary wrong(70);
    wrong.emulator.settings.blas_is_wrong = true;
    CHECK_EQ(wrong.products(DType::BF16, true), 1);
    wrong.emulator.settings.blas_is_wrong = false;
    CHECK_EQ(wrong.products(DType::F32, true), 0);
  }
  {
    WithLibrary unwilling(70);
    unwilling.emulator.settings.blas_refuses = true;
    CHECK_EQ(unwilling.products(DType::BF16, true), 0);
  }
  WithLibrary without_room(70);
  without_room.emulator.settings.taken_bytes = without_room.emulator.settings.memory_bytes - (size_t{8} << 20);
  CHECK_EQ(without_room.products(DType::BF16, true), 0);
}

TEST(a_library_of_products_is_asked_for_many_tokens_of_plain_weights_and_compared_when_there_are_numbers) {
  if (!is_emulated()) return;
  WithLibrary few(63);
  CHECK_EQ(few.products(DType::BF16, true), 0);
  WithLibrary many(64);
  CHECK_EQ(many.products(DType::F16, true), 0);
  CHECK_EQ(many.products(DType::BF16, true, std::numeric_limits<float>::infinity()), 1);  // nothing to compare
  CHECK_EQ(many.products(DType::BF16, true), 0);
  many.tokens = 128;
  CHECK_EQ(many.products(DType::BF16, true), 4);
}

// The largest sums there are must fit the narrowest integers that an instruction set adds them up in.
TEST(matmul_agrees_with_its_twin_at_the_ends_of_what_codes_can_say) {
  for (auto& backend : backends()) {
    for (const Format& format : kFormats) {
      if (format.values == 1) continue;
      for (uint8_t fill : {0x00, 0x77, 0x7f, 0x80, 0xff}) {
        const int cols = 512, rows = 16, tokens = 17;
        Matrix m(*backend, format.type, rows, cols, fill);
        std::vector<float> x(static_cast<size_t>(tokens * cols), 1.0f), bias(rows, 0.0f);
        std::fill(x.begin() + cols, x.begin() + 9 * cols, -1.0f);
        std::vector<float> expected(static_cast<size_t>(tokens * rows)), got(expected.size(), kNaN);
        twin::matmul({format.type, rows, cols, ptr(m.stored)}, bias.data(), x.data(), tokens, expected.data());
        const OnDevice in(*backend, x), out(*backend, got);
        const Product product{m.packed, nullptr, out.data()};
        CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
        CHECK(worst(expected, out.read(), m.bounds(x, bias, tokens)) <= 1.0);
      }
    }
  }
}

TEST(numbers_that_are_none_come_out_as_none_and_tiny_ones_as_nothing) {
  for (auto& backend : backends()) {
    for (const Format& format : kFormats) {
      for (float bad : {kNaN, std::numeric_limits<float>::infinity()}) {
        const int rows = 17, cols = 512, tokens = 13;
        Matrix m(*backend, format.type, rows, cols);
        auto x = random_floats(tokens * cols);
        x[3 * cols + 100] = bad;
        std::fill_n(x.begin() + 5 * cols, cols, 1e-39f);
        const OnDevice in(*backend, x), result(*backend, std::vector<float>(tokens * rows, 0.0f));
        const Product product{m.packed, nullptr, result.data()};
        CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
        const auto out = result.read();
        for (int r = 0; r < rows; ++r) {
          CHECK(!std::isfinite(out[static_cast<size_t>(3 * rows + r)]));
          CHECK(std::abs(out[static_cast<size_t>(5 * rows + r)]) < 1e-30f);
          CHECK(std::isfinite(out[static_cast<size_t>(4 * rows + r)]));
        }
      }
    }
  }
}

TEST(products_of_one_input_are_the_same_together_and_alone) {
  for (auto& backend : backends()) {
    const int cols = 512, tokens = 5;
    const DType types[] = {DType::Q4_K, DType::F16, DType::Q6_K};
    auto x = random_floats(tokens * cols);
    std::vector<Matrix> weights;
    std::vector<OnDevice<float>> together, alone;
    for (int i = 0; i < 3; ++i) {
      weights.emplace_back(*backend, types[i], 20 + 30 * i, cols);
      const std::vector<float> unwritten(static_cast<size_t>(tokens * (20 + 30 * i)), kNaN);
      together.emplace_back(*backend, unwritten);
      alone.emplace_back(*backend, unwritten);
    }
    const OnDevice in(*backend, x);
    std::vector<Product> products;
    for (size_t i = 0; i < 3; ++i) products.push_back({weights[i].packed, nullptr, together[i].data()});
    CHECK(backend->matmul(backend->self, products, in.data(), tokens).ok());
    for (size_t i = 0; i < 3; ++i) {
      products[i].out = alone[i].data();
      CHECK(backend->matmul(backend->self, {&products[i], 1}, in.data(), tokens).ok());
      CHECK(together[i].read() == alone[i].read());
    }
  }
}

TEST(matmul_gives_the_same_bits_alone_and_in_a_batch) {
  for (auto& backend : backends()) {
    for (const Format& format : kFormats) {
      const int rows = 70, cols = 256, tokens = test_gpu() != nullptr ? kSameBits : 25;
      Matrix m(*backend, format.type, rows, cols);
      const auto n = static_cast<size_t>(tokens);
      const OnDevice in(*backend, random_floats(n * cols)), together(*backend, std::vector<float>(n * rows, kNaN)),
          alone(*backend, std::vector<float>(n * rows, kNaN));
      Product product{m.packed, nullptr, together.data()};
      CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), tokens).ok());
      for (size_t t = 0; t < n; ++t) {
        product.out = at(alone.data(), t * rows * 4);
        CHECK(backend->matmul(backend->self, {&product, 1}, at(in.data(), t * cols * 4), 1).ok());
      }
      CHECK(together.read() == alone.read());
    }
  }
}

TEST(large_batches_give_the_same_bits_whatever_their_size) {
  for (auto& backend : backends()) {
    for (const Format& format : kFormats) {
      const int rows = 20, cols = 256, tokens = 131;
      Matrix m(*backend, format.type, rows, cols);
      const OnDevice in(*backend, random_floats(tokens * cols));
      std::vector<std::vector<float>> all;
      for (int n : {9, 20, tokens}) {
        const OnDevice out(*backend, std::vector<float>(static_cast<size_t>(n * rows), kNaN));
        const Product product{m.packed, nullptr, out.data()};
        CHECK(backend->matmul(backend->self, {&product, 1}, in.data(), n).ok());
        all.push_back(out.read());
      }
      for (const auto& few : all) CHECK(std::equal(few.begin(), few.end(), all.back().begin()));
    }
  }
}
