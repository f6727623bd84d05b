// Every CPU version of the smaller operations against the twins, and the twins against numbers worked out by hand.
#include <cmath>
#include <cstring>

#include "kernels/ops_cpu.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"

using namespace longleaf;
using namespace longleaf::kernels;
using namespace longleaf::test;

TEST(what_runs_here_is_among_what_is_tested) {
  if (test_gpu() != nullptr) return;
  CHECK_EQ(make_cpu_backend({.isa = Isa::Best, .n_threads = 2, .limit_bytes = 0})->name, backends().back()->name);
}

TEST(rms_norm_twin_matches_a_row_worked_out_by_hand) {
  const float x[] = {3, 4}, weight[] = {1, 2};  // mean square 12.5, root 3.5355339
  float out[2] = {kNaN, kNaN};
  twin::rms_norm(x, weight, 0, 1, 2, out);
  CHECK(std::abs(out[0] - 0.84852814f) < 1e-7f);
  CHECK(std::abs(out[1] - 2.26274170f) < 3e-7f);
}

TEST(gates_agree_with_their_twins_at_every_remainder_and_at_the_ends) {
  for (auto& backend : backends()) {
    for (Activation activation : {Activation::Silu, Activation::Gelu}) {
      for (size_t n : {1u, 15u, 16u, 17u, 1000u, 40000u}) {
        auto gate = random_floats(n, 4.0f), up = random_floats(n), expected = gate;
        gate[0] = expected[0] = -1000;
        const auto input = gate;
        twin::gate(activation, expected.data(), up.data(), static_cast<int64_t>(n));
        const OnDevice gated(*backend, gate), factors(*backend, up);
        CHECK(backend->gate(backend->self, activation, gated.data(), factors.data(), static_cast<int64_t>(n)).ok());
        gate = gated.read();
        std::vector<double> bound(n);
        for (size_t i = 0; i < n; ++i) {
          // The exponent (x, or 2u of Gelu) is off by a few units of its own size, the rest by some units.
          const double x = std::abs(double{input[i]}), exponent = 1 + x + 0.08 * x * x * x;
          bound[i] = (16 + 8 * exponent) * kUnit * std::abs(double{expected[i]}) + 1e-30;
        }
        gate[0] = expected[0];  // x * e^-1000: zero in f32 either way, by different roads
        CHECK(worst(expected, gate, bound) <= 1.0);
      }
    }
  }
}

TEST(gelu_agrees_with_its_twin_with_and_without_a_gate) {
  for (auto& backend : backends()) {
    for (size_t n : {1u, 15u, 16u, 17u, 1000u, 40000u}) {
      auto x = random_floats(n, 4.0f), up = random_floats(n), expected = x, alone = x, expected_alone = x;
      const auto input = x;
      x[0] = alone[0] = expected[0] = expected_alone[0] = -1000;
      const auto count = static_cast<int64_t>(n);
      twin::gate(Activation::GeluErf, expected.data(), up.data(), count);
      twin::gate(Activation::GeluErf, expected_alone.data(), nullptr, count);
      const OnDevice gated(*backend, x), ungated(*backend, alone), factors(*backend, up);
      CHECK(backend->gate(backend->self, Activation::GeluErf, gated.data(), factors.data(), count).ok());
      CHECK(backend->gate(backend->self, Activation::GeluErf, ungated.data(), nullptr, count).ok());
      // The formula is off by 1.5e-7 of erf, half of that of its half; some units of roundings come with it.
      std::vector<double> bound(n), bound_alone(n);
      for (size_t i = 0; i < n; ++i) {
        bound_alone[i] = (0.75e-7 + 8 * kUnit) * std::abs(double{input[i]}) + 1e-30;
        bound[i] = bound_alone[i] * std::abs(double{up[i]}) + 1e-30;
      }
      CHECK(worst(expected, gated.read(), bound) <= 1.0);
      CHECK(worst(expected_alone, ungated.read(), bound_alone) <= 1.0);
    }
  }
}

TEST(layer_norm_agrees_with_its_twin) {
  for (auto& backend : backends()) {
    for (int cols : {2, 15, 16, 17, 64, 255, 256, 257, 384}) {
      const int rows = 37;
      const auto n = static_cast<size_t>(rows * cols);
      auto x = random_floats(n), weight = random_floats(static_cast<size_t>(cols)), bias = weight;
      for (float& value : x) value += 3.0f;  // far from zero, as hidden states are
      std::vector<float> expected(n), got(n, kNaN);
      twin::layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, rows, cols, expected.data());
      const OnDevice in(*backend, x), w(*backend, weight), b(*backend, bias), out(*backend, got);
      CHECK(backend->layer_norm(backend->self, in.data(), w.data(), b.data(), 1e-5f, rows, cols, out.data()).ok());
      got = out.read();
      // Both sums are off by (cols / 2 + 6) units, of numbers up to 5; the spread of a row is what divides.
      std::vector<double> bound(n);
      for (size_t i = 0; i < n; ++i) {
        const size_t row = i / static_cast<size_t>(cols) * static_cast<size_t>(cols), c = i - row;
        double mean = 0, squares = 0;
        for (size_t j = 0; j < static_cast<size_t>(cols); ++j) mean += double{x[row + j]} / cols;
        for (size_t j = 0; j < static_cast<size_t>(cols); ++j) squares += std::pow(double{x[row + j]} - mean, 2);
        const double scale = std::abs(double{weight[c]}) / std::sqrt(squares / cols + 1e-5);
        bound[i] = (cols / 2.0 + 6) * kUnit * 5 * scale *
                       (1 + std::abs(double{x[i]} - mean) / std::sqrt(squares / cols + 1e-5)) +
                   4 * kUnit * (std::abs(double{expected[i]}) + std::abs(double{bias[c]}));
      }
      CHECK(worst(expected, got, bound) <= 1.0);
    }
  }
}

TEST(rms_norm_agrees_with_its_twin) {
  for (auto& backend : backends()) {
    for (int cols : {1, 15, 16, 17, 64, 255, 256, 257, 576}) {
      const int rows = 37;
      auto x = random_floats(static_cast<size_t>(rows * cols)), weight = random_floats(static_cast<size_t>(cols));
      std::vector<float> expected(x.size()), got(x.size(), kNaN);
      twin::rms_norm(x.data(), weight.data(), 1e-5f, rows, cols, expected.data());
      const OnDevice in(*backend, x), w(*backend, weight), out(*backend, got);
      CHECK(backend->rms_norm(backend->self, in.data(), w.data(), 1e-5f, rows, cols, out.data()).ok());
      got = out.read();
      std::vector<double> bound(x.size());  // half the sum's relative error, and five roundings
      for (size_t i = 0; i < x.size(); ++i) bound[i] = (cols / 2.0 + 6) * kUnit * std::abs(double{expected[i]}) + 1e-30;
      CHECK(worst(expected, got, bound) <= 1.0);
    }
  }
}

TEST(adding_and_normalising_at_once_gives_the_bits_of_both) {
  for (auto& backend : backends()) {
    for (int cols : {1, 15, 16, 17, 257, 576}) {
      const int rows = 37;
      const auto n = static_cast<size_t>(rows * cols);
      auto x = random_floats(n), y = random_floats(n), weight = random_floats(static_cast<size_t>(cols));
      const OnDevice sum(*backend, x), both(*backend, x), added(*backend, y), also(*backend, y), w(*backend, weight);
      const OnDevice out(*backend, std::vector<float>(n, kNaN));
      CHECK(backend->add(backend->self, sum.data(), added.data(), 0.3f, static_cast<int64_t>(n)).ok());
      CHECK(backend->rms_norm(backend->self, sum.data(), w.data(), 1e-5f, rows, cols, out.data()).ok());
      // In the place of what is added.
      CHECK(
          backend->add_rms_norm(backend->self, both.data(), also.data(), 0.3f, w.data(), 1e-5f, rows, cols, also.data())
              .ok());
      CHECK(both.read() == sum.read());
      CHECK(also.read() == out.read());
    }
  }
}

TEST(rows_go_to_experts_and_come_back) {
  for (auto& backend : backends()) {
    auto x = random_floats(5 * 3), total = std::vector<float>(5 * 3, 0.0f);
    std::vector<int32_t> ids = {4, 1};
    std::vector<float> picked(6, kNaN), weights = {0.5f, 2.0f};
    const OnDevice in(*backend, x), few(*backend, picked), w(*backend, weights), sum(*backend, total);
    const OnDevice names(*backend, ids);
    CHECK(backend->gather_rows(backend->self, in.data(), names.data(), 2, 3, few.data()).ok());
    CHECK(backend->scatter_add(backend->self, few.data(), names.data(), w.data(), 2, 3, sum.data()).ok());
    total = sum.read();
    for (size_t c = 0; c < 3; ++c) CHECK(total[4 * 3 + c] == 0.5f * x[4 * 3 + c] && total[3 + c] == 2 * x[3 + c]);
    CHECK(total[0] == 0 && total[2 * 3] == 0);
    CHECK(backend->add(backend->self, sum.data(), in.data(), 2.0f, 15).ok());
    CHECK(backend->scale(backend->self, sum.data(), 0.5f, 15).ok());
    total = sum.read();
    CHECK(total[0] == x[0] && std::abs(total[12] - 1.25f * x[12]) <= 2 * kUnit * std::abs(x[12]));
  }
}

TEST(times_nothing_is_nothing_whatever_was_there) {
  for (auto& backend : backends()) {
    const OnDevice x(*backend, std::vector<float>{kNaN, 1.0f, std::numeric_limits<float>::infinity()});
    CHECK(backend->scale(backend->self, x.data(), 0.0f, 3).ok());
    CHECK(x.read() == std::vector<float>(3, 0.0f));
  }
}

TEST(mean_of_rows_agrees_with_its_twin) {
  for (auto& backend : backends()) {
    for (int cols : {1, 31, 32, 255, 256, 257}) {
      const int rows = 33;
      const auto x = random_floats(static_cast<size_t>(rows * cols));
      std::vector<float> expected(static_cast<size_t>(cols));
      twin::mean_rows(x.data(), rows, cols, expected.data());
      const OnDevice in(*backend, x), out(*backend, std::vector<float>(static_cast<size_t>(cols), kNaN));
      CHECK(backend->mean_rows(backend->self, in.data(), rows, cols, out.data()).ok());
      const std::vector<double> bound(static_cast<size_t>(cols), 2 * kUnit * 5);  // summed in double, numbers below 5
      CHECK(worst(expected, out.read(), bound) <= 1.0);
    }
  }
}

TEST(the_best_of_a_row_is_its_first_largest_number) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (auto& backend : backends()) {
    for (int cols : {1, 2, 33, 511, 512, 513, 20000}) {
      const int rows = 7;
      const auto n = static_cast<size_t>(cols);
      auto x = random_floats(static_cast<size_t>(rows) * n);
      std::vector<int32_t> expected;
      std::fill_n(x.begin(), n, kNaN);              // no numbers
      std::fill_n(x.begin() + cols, n, -infinity);  // none above the least
      std::fill_n(x.begin() + 2 * cols, n, 3.0f);   // all equal
      x[4 * n - 1] = 100;                           // the last of row 3
      x[4 * n + n / 2] = infinity;                  // of row 4, behind a NaN
      if (n > 1) x[4 * n] = kNaN;
      x[5 * n + n / 3] = x[5 * n + n / 2] = 50;  // two of row 5
      for (int r = 0; r < rows; ++r)
        expected.push_back(std::max(0, twin::best(&x[static_cast<size_t>(r) * n], 0, cols)));
      CHECK_EQ(expected[2], 0);
      CHECK_EQ(expected[3], cols - 1);
      CHECK_EQ(expected[5], cols / 3);
      const OnDevice in(*backend, x);
      const OnDevice out(*backend, std::vector<int32_t>(rows, -7));
      CHECK(backend->best(backend->self, in.data(), rows, cols, out.data()).ok());
      CHECK(out.read() == expected);
    }
  }
}

namespace {

struct Top {
  std::vector<float> values;
  std::vector<int32_t> ids;
  std::vector<double> sums;
};

Top top_of(const Backend& backend, const std::vector<float>& x, int rows, int k, float temperature) {
  const auto n = static_cast<size_t>(rows * k);
  const OnDevice in(backend, x), values(backend, std::vector<float>(n, kNaN));
  const OnDevice ids(backend, std::vector<int32_t>(n, -7));
  const OnDevice sums(backend, std::vector<double>(static_cast<size_t>(rows), -7.0));
  const int cols = static_cast<int>(x.size()) / rows;
  TopArgs args{in.data(), values.data(), ids.data(), nullptr, rows, cols, k, temperature};
  CHECK(backend.top(backend.self, args).ok());  // without sums
  args.sums = sums.data();
  CHECK(backend.top(backend.self, args).ok());
  return {values.read(), ids.read(), sums.read()};
}

// What each row of the twin's says.
void check_top(const Backend& backend, const std::vector<float>& x, int rows, int k, float temperature) {
  const float infinity = std::numeric_limits<float>::infinity();
  const Top found = top_of(backend, x, rows, k, temperature);
  const int cols = static_cast<int>(x.size()) / rows;
  for (int r = 0; r < rows; ++r) {
    const float* row = &x[static_cast<size_t>(r) * static_cast<size_t>(cols)];
    const auto expected = twin::top(row, 0, cols, k);
    for (int i = 0; i < k; ++i) {
      const bool is_there = i < static_cast<int>(expected.size());
      const int32_t id = is_there ? expected[static_cast<size_t>(i)] : -1;
      const auto at = static_cast<size_t>(r * k + i);
      CHECK_EQ(found.ids[at], id);
      CHECK_EQ(found.values[at], is_there ? row[id] : -infinity);
    }
    if (expected.empty() || std::isinf(row[expected[0]])) continue;
    const float largest = row[expected[0]];
    // Of every term the exponent is rounded three times, the function is within two units; Kahan's sum adds two, and
    // the threads' sums ten.
    double sum = 0, bound = 0;
    for (int c = 0; c < cols; ++c) {
      const double exponent = (double{row[c]} - double{largest}) / double{temperature};
      if (!(row[c] > -infinity)) continue;
      sum += std::exp(exponent);
      bound += std::exp(exponent) * kUnit * (3 * std::abs(exponent) + 2 + 2 + 10);
    }
    CHECK(std::abs(found.sums[static_cast<size_t>(r)] - sum) <= bound);
  }
}

}  // namespace

TEST(the_top_of_a_row_is_in_order_and_weighed) {
  for (auto& backend : backends()) {
    for (int cols : {1, 2, 33, 1000, 1025, 5000}) {
      for (int k : {1, 7, 64, kMostTop}) check_top(*backend, random_floats(3 * static_cast<size_t>(cols)), 3, k, 0.25f);
    }
    auto wide = random_floats(150000);  // a vocabulary, most of it unlikely
    for (float& x : wide) x = -x * x;
    check_top(*backend, wide, 1, 256, 0.7f);
  }
}

TEST(the_top_of_odd_rows_is_in_order_too) {
  const float infinity = std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::max();
  constexpr size_t kCols = 6000;
  for (auto& backend : backends()) {
    std::vector<float> equal(kCols, 3.0f), none(kCols, kNaN), few(kCols, -infinity), extremes(kCols, -most);
    few[5] = -2, few[5999] = 7, few[80] = kNaN;
    extremes[17] = most, extremes[4000] = 1, extremes[4001] = infinity, extremes[4003] = infinity;
    // One far above makes all others one place of the first digit, and then many of them are equal, too.
    auto crowded = random_floats(kCols);
    for (size_t i = 0; i < kCols; i += 2) crowded[i] = 0.5f;
    crowded[3000] = 1e30f;
    auto zeros = random_floats(kCols);
    for (size_t i = 0; i < kCols; ++i) zeros[i] = i % 3 == 0 ? -0.0f : i % 3 == 1 ? 0.0f : -std::abs(zeros[i]);
    for (const auto& x : {equal, none, few, extremes, crowded, zeros})
      for (int k : {1, 5, 300, kMostTop}) check_top(*backend, x, 1, k, 1.5f);
  }
}

TEST(rope_agrees_with_its_twin_near_and_far) {
  for (auto& backend : backends()) {
    for (RopeStyle style : {RopeStyle::Adjacent, RopeStyle::Halves}) {
      for (int dims : {2, 8, 64, 130}) {
        const int heads = 5, head_dim = dims + 6;
        const std::vector<int32_t> positions = {0, 1, 77, 32767, 1000003};
        const auto tokens = static_cast<int>(positions.size());
        auto x = random_floats(static_cast<size_t>(tokens * heads * head_dim)), expected = x;
        std::vector<float> inv_freq(static_cast<size_t>(dims / 2));
        for (size_t i = 0; i < inv_freq.size(); ++i)
          inv_freq[i] = std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(dims));
        auto at = positions;
        RopeArgs args{ptr(expected), ptr(at), ptr(inv_freq), tokens, heads, head_dim, dims, style, 1.25f};
        twin::rope(args, 0, tokens);
        const OnDevice in(*backend, x), f(*backend, inv_freq);
        const OnDevice p(*backend, positions);
        args.x = in.data(), args.positions = p.data(), args.inv_freq = f.data();
        CHECK(backend->rope(backend->self, args).ok());
        // Sine and cosine are off by 2 units of 1 and the angle's rest (below pi) by 1; numbers up to 5, times 1.25.
        const std::vector<double> bound(x.size(), 2 * 5 * 1.25 * (2 + 3.15 + 3) * kUnit);
        CHECK(worst(expected, in.read(), bound) <= 1.0);
      }
    }
  }
}

TEST(rows_of_a_table_come_from_host_memory) {
  for (auto& backend : backends()) {
    const auto table = random_floats(7 * 12);
    const Weight weight{DType::F32, 7, 12, reinterpret_cast<const uint8_t*>(table.data())};
    const std::vector<int32_t> ids = {6, 0, 6};
    const OnDevice out(*backend, std::vector<float>(3 * 12, kNaN));
    CHECK(backend->embed(backend->self, weight, ids.data(), 3, out.data()).ok());
    const auto got = out.read();
    for (size_t i = 0; i < got.size(); ++i) CHECK_EQ(got[i], table[static_cast<size_t>(ids[i / 12]) * 12 + i % 12]);
  }
}

TEST(allocation_beyond_the_limit_is_refused_and_nothing_leaks) {
  auto backend = make_cpu_backend({.isa = Isa::Best, .n_threads = 1, .limit_bytes = 1 << 20});
  {
    auto small = Buffer::allocate(*backend, 1 << 19);
    CHECK(small.ok());
    auto large = Buffer::allocate(*backend, 1 << 20);
    CHECK(!large.ok() && large.status().code() == Code::NoMemory);
    CHECK(!Buffer::allocate(*backend, ~size_t{0}).ok());
  }
  CHECK_EQ(backend->memory(backend->self).used_bytes, size_t{0});
  CHECK(backend->memory(backend->self).peak_bytes >= size_t{1} << 19);
}
