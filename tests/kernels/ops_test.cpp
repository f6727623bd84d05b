// Every CPU version of every operation against the twins, and the twins against numbers worked out by hand.
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <random>

#include "kernels/blocks.h"
#include "kernels/cpu_backend.h"
#include "kernels/ops_cpu.h"
#include "tests/support/check.h"

using namespace longleaf;
using namespace longleaf::kernels;

namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kUnit = 5.96e-8;  // 2^-24: rounding of one f32 operation
std::mt19937 rng(7);

std::vector<float> random_floats(size_t n, float scale = 1.0f) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> v(n);
  for (auto& x : v) x = normal(rng);
  return v;
}

template <typename T>
DevicePtr ptr(std::vector<T>& v) {
  return reinterpret_cast<DevicePtr>(v.data());
}

// Largest |a-b|/bound; NaN counts as failure.
double worst(const std::vector<float>& a, const std::vector<float>& b, const std::vector<double>& bound) {
  double top = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double ratio = std::abs(double{a[i]} - double{b[i]}) / bound[i];
    top = std::isnan(ratio) ? std::numeric_limits<double>::infinity() : std::max(top, ratio);
  }
  return top;
}

std::vector<BackendPtr> backends() {
  std::vector<BackendPtr> all;
  for (Isa isa : {Isa::Baseline, Isa::Sse42, Isa::Avx2, Isa::AvxVnni, Isa::Avx512, Isa::Avx512Bf16, Isa::NeonDot})
    if (auto backend = make_cpu_backend({.isa = isa, .n_threads = 2, .limit_bytes = 0}))
      all.push_back(std::move(backend));
  return all;
}

// fill: the byte that all codes are made of; random ones where there is none.
std::vector<uint8_t> random_weight(DType type, int rows, int cols, std::optional<uint8_t> fill) {
  std::vector<uint8_t> bytes(row_bytes(type, cols) * static_cast<size_t>(rows));
  if (type == DType::F32) {
    const auto values = random_floats(static_cast<size_t>(rows) * static_cast<size_t>(cols));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  }
  for (auto& b : bytes) b = fill.value_or(static_cast<uint8_t>(rng()));
  // Halves in random bytes may be infinite or NaN: give them a modest exponent, and the exponents of MXFP4 too.
  const Format& format = format_of(type);
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

// A random weight: as stored, and packed for a backend.
struct Matrix {
  Matrix(const Backend& backend, DType type, int n_rows, int n_cols, std::optional<uint8_t> fill = {})
      : stored(random_weight(type, n_rows, n_cols, fill)), rows(n_rows), cols(n_cols) {
    const Weight w{type, rows, cols, ptr(stored)};
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

// A KV store of one layer over `n_keys` keys with random contents.
struct Store {
  Store(DType type, int n_kv_heads, int head_dim, int n_keys) {
    const size_t page_bytes = kv_page_layer_bytes(type, n_kv_heads, head_dim);
    for (int i = 0; i * kPageTokens < n_keys; ++i) memory.emplace_back(page_bytes, uint8_t{0x7f});  // unwritten: NaN
    for (auto& page : memory) pages.push_back(ptr(page));
    view = {ptr(pages), 0, type, n_kv_heads, head_dim};
    auto k = random_floats(static_cast<size_t>(n_keys * n_kv_heads * head_dim)), v = k;
    for (auto& x : v) x = x * 0.5f + 0.1f;
    twin::kv_write({view, ptr(k), ptr(v), DType::F32, n_keys, 0}, 0, n_keys);
  }
  std::vector<std::vector<uint8_t>> memory;
  std::vector<DevicePtr> pages;
  KvView view;
};

}  // namespace

TEST(says_which_instruction_sets_are_tested) {
  for (auto& backend : backends()) std::printf("       %s\n", backend->name.c_str());
  CHECK(!backends().empty());
}

TEST(rms_norm_twin_matches_a_row_worked_out_by_hand) {
  const float x[] = {3, 4}, weight[] = {1, 2};  // mean square 12.5, root 3.5355339
  float out[2] = {kNaN, kNaN};
  twin::rms_norm(x, weight, 0, 1, 2, out);
  CHECK(std::abs(out[0] - 0.84852814f) < 1e-7f);
  CHECK(std::abs(out[1] - 2.26274170f) < 3e-7f);
}

TEST(attention_twin_matches_a_row_worked_out_by_hand) {
  Store store(DType::F32, 1, 2, 2);
  std::vector<float> k = {1, 0, 0, 1}, v = {10, 0, 0, 20}, q = {std::log(3.0f), 0}, out = {kNaN, kNaN};
  twin::kv_write({store.view, ptr(k), ptr(v), DType::F32, 2, 0}, 0, 2);
  std::vector<Span> spans = {{0, 2, 0, 0}};
  std::vector<int32_t> groups = {0, 1};
  std::vector<float> inv_freq = {1};
  twin::span_attention(
      {ptr(q), ptr(out), store.view, 1, 1, 1, ptr(spans), ptr(groups), 1, ptr(inv_freq), 2, RopeStyle::Adjacent, 1.0f});
  CHECK(std::abs(out[0] - 7.5f) < 1e-5f);  // weights 3/4 and 1/4
  CHECK(std::abs(out[1] - 5.0f) < 1e-5f);
}

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
          twin::matmul({format.type, rows, cols, ptr(m.stored)}, bias.data(), x.data(), tokens, expected.data());
          const Product product{m.packed, ptr(bias), ptr(got)};
          CHECK(backend->matmul(backend->self, {&product, 1}, ptr(x), tokens).ok());
          const double ratio = worst(expected, got, m.bounds(x, bias, tokens));
          if (!(ratio <= 1.0))
            std::printf("%s %s %d rows %d tokens: %g\n", backend->name.c_str(), format.name, rows, tokens, ratio);
          CHECK(ratio <= 1.0);
        }
      }
    }
  }
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
        const Product product{m.packed, nullptr, ptr(got)};
        CHECK(backend->matmul(backend->self, {&product, 1}, ptr(x), tokens).ok());
        CHECK(worst(expected, got, m.bounds(x, bias, tokens)) <= 1.0);
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
        std::vector<float> out(tokens * rows, 0.0f);
        const Product product{m.packed, nullptr, ptr(out)};
        CHECK(backend->matmul(backend->self, {&product, 1}, ptr(x), tokens).ok());
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
    std::vector<std::vector<float>> together, alone;
    for (int i = 0; i < 3; ++i) {
      weights.emplace_back(*backend, types[i], 20 + 30 * i, cols);
      together.emplace_back(static_cast<size_t>(tokens * (20 + 30 * i)), kNaN);
    }
    alone = together;
    std::vector<Product> products;
    for (size_t i = 0; i < 3; ++i) products.push_back({weights[i].packed, nullptr, ptr(together[i])});
    CHECK(backend->matmul(backend->self, products, ptr(x), tokens).ok());
    for (size_t i = 0; i < 3; ++i) {
      products[i].out = ptr(alone[i]);
      CHECK(backend->matmul(backend->self, {&products[i], 1}, ptr(x), tokens).ok());
    }
    CHECK(together == alone);
  }
}

TEST(matmul_gives_the_same_bits_alone_and_in_a_batch) {
  for (auto& backend : backends()) {
    for (const Format& format : kFormats) {
      const int rows = 70, cols = 256, tokens = 25;
      Matrix m(*backend, format.type, rows, cols);
      auto x = random_floats(tokens * cols);
      std::vector<float> together(tokens * rows, kNaN), alone(tokens * rows, kNaN);
      Product product{m.packed, nullptr, ptr(together)};
      CHECK(backend->matmul(backend->self, {&product, 1}, ptr(x), tokens).ok());
      for (size_t t = 0; t < tokens; ++t) {
        product.out = at(ptr(alone), t * rows * 4);
        CHECK(backend->matmul(backend->self, {&product, 1}, at(ptr(x), t * cols * 4), 1).ok());
      }
      CHECK(together == alone);
    }
  }
}

TEST(span_attention_agrees_with_its_twin) {
  for (auto& backend : backends()) {
    for (DType type : {DType::F32, DType::F16}) {
      for (int head_dim : {8, 64, 80}) {
        const int kv_heads = 2, heads = 6, keys = 3 * kPageTokens + 5, tokens = 11, first_key = keys - tokens;
        Store store(type, kv_heads, head_dim, keys);
        auto q = random_floats(static_cast<size_t>(tokens * heads * head_dim));
        std::vector<float> inv_freq(static_cast<size_t>(head_dim / 2));
        for (size_t i = 0; i < inv_freq.size(); ++i)
          inv_freq[i] = std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(head_dim));
        std::vector<Span> spans = {
            {0, 3, 0, 0}, {40, 60, 17, 0}, {130, keys - 130, -5, 1}, {2, 7, 0, 0}, {100, keys - 100, 0, 1}};
        std::vector<int32_t> groups = {0, 3, 5};
        std::vector<float> expected(q.size(), kNaN), got(q.size(), kNaN);
        std::vector<int32_t> positions(tokens);
        for (int t = 0; t < tokens; ++t) positions[static_cast<size_t>(t)] = first_key + t + 9;
        for (size_t s = 0; s < spans.size(); ++s) spans[s].position = spans[s].key_begin + static_cast<int>(s);
        for (int variant = 0; variant < 4; ++variant) {
          const RopeStyle style = variant % 2 == 0 ? RopeStyle::Adjacent : RopeStyle::Halves;
          SpanAttentionArgs args{ptr(q), ptr(expected), store.view, tokens, heads, first_key, ptr(spans), ptr(groups),
                                 2,      ptr(inv_freq), head_dim,   style,  0.125f};
          args.positions = ptr(positions);
          args.soft_cap = variant >= 2 ? 2.0f : 0.0f;
          args.window = variant >= 2 ? 80 : 0;
          twin::span_attention(args);
          args.out = ptr(got);
          CHECK(backend->span_attention(backend->self, args).ok());
          // Scores are off by head_dim*unit*|q||k|*scale (norms about sqrt(head_dim), so times head_dim) and e^x by
          // 2 ulp; weights by that relative amount; |v| <= ~3; plus the sum over the keys.
          const double score_error = head_dim * kUnit * head_dim * 0.125 * 4;
          const std::vector<double> bound(q.size(), 3.0 * (2 * score_error + (keys + 8) * kUnit));
          CHECK(worst(expected, got, bound) <= 1.0);
        }
      }
    }
  }
}

TEST(span_attention_gives_the_same_bits_alone_and_in_a_batch) {
  for (auto& backend : backends()) {
    const int heads = 4, d = 16, keys = 150, tokens = 21;
    Store store(DType::F32, 2, d, keys);
    auto q = random_floats(tokens * heads * d);
    std::vector<float> inv_freq(d / 2, 0.5f), together(q.size(), kNaN), alone(q.size(), kNaN);
    std::vector<Span> spans = {{0, keys, 0, 1}};
    std::vector<int32_t> groups = {0, 1};
    SpanAttentionArgs args{ptr(q),     ptr(together), store.view, tokens,        heads, keys - tokens,
                           ptr(spans), ptr(groups),   1,          ptr(inv_freq), d,     RopeStyle::Halves,
                           0.25f};
    CHECK(backend->span_attention(backend->self, args).ok());
    for (int t = 0; t < tokens; ++t) {
      SpanAttentionArgs one = args;
      one.q = at(args.q, static_cast<size_t>(t * heads * d * 4));
      one.out = at(ptr(alone), static_cast<size_t>(t * heads * d * 4));
      one.n_tokens = 1;
      one.first_key = args.first_key + t;
      CHECK(backend->span_attention(backend->self, one).ok());
    }
    CHECK(together == alone);
  }
}

TEST(rotating_a_query_back_equals_moving_the_keys) {  // invariants T1 and T2 of the KV reuse specification
  const int d = 16;
  auto head = random_floats(d);
  std::vector<float> inv_freq(d / 2);
  for (size_t i = 0; i < inv_freq.size(); ++i) inv_freq[i] = std::pow(10000.0f, -static_cast<float>(i) / 8.0f);
  for (RopeStyle style : {RopeStyle::Adjacent, RopeStyle::Halves}) {
    auto once = head, twice = head;
    twin::rotate_head(once.data(), 900, inv_freq.data(), d, style);
    twin::rotate_head(twice.data(), 1200, inv_freq.data(), d, style);
    twin::rotate_head(twice.data(), -300, inv_freq.data(), d, style);
    for (size_t i = 0; i < once.size(); ++i) CHECK(std::abs(once[i] - twice[i]) < 8 * kUnit * 4);
  }
}

TEST(kv_rows_come_back_as_they_went_in) {
  for (DType type : {DType::F32, DType::F16}) {
    Store store(type, 2, 8, 100);
    std::vector<uint8_t> k(50 * 16 * 4, 1), v(k.size(), 2), k2(k.size(), 3), v2(k.size(), 4);
    twin::kv_read({store.view, ptr(k), ptr(v), type, 50, 30});
    Store other(type, 2, 8, 100);
    twin::kv_write({other.view, ptr(k), ptr(v), type, 50, 7}, 0, 50);
    twin::kv_read({other.view, ptr(k2), ptr(v2), type, 50, 7});
    const size_t bytes = 50 * 16 * static_cast<size_t>(format_of(type).bytes);
    CHECK(std::memcmp(k.data(), k2.data(), bytes) == 0);
    CHECK(std::memcmp(v.data(), v2.data(), bytes) == 0);
  }
}

TEST(what_half_precision_cannot_hold_disturbs_no_row_that_does_not_see_it) {
  for (auto& backend : backends()) {
    const int d = 8;
    Store store(DType::F16, 1, d, 2);
    std::vector<float> k(2 * d, 1.0f), v = k;
    k[d] = v[d] = 1e6f;  // of the second key
    CHECK(backend->kv_write(backend->self, {store.view, ptr(k), ptr(v), DType::F32, 2, 0}).ok());
    std::vector<float> q(2 * d, 1.0f), out(q.size(), kNaN), inv_freq(d / 2, 0.5f);
    std::vector<Span> spans = {{0, 2, 0, 1}};
    std::vector<int32_t> groups = {0, 1};
    const SpanAttentionArgs args{ptr(q),        ptr(out), store.view,        2,    1, 0, ptr(spans), ptr(groups), 1,
                                 ptr(inv_freq), d,        RopeStyle::Halves, 0.25f};
    CHECK(backend->span_attention(backend->self, args).ok());
    for (int i = 0; i < d; ++i) CHECK_EQ(out[static_cast<size_t>(i)], 1.0f);  // the first query sees the first key
    CHECK_EQ(out[d], 65504.0f);
  }
}

TEST(gates_agree_with_their_twins_at_every_remainder_and_at_the_ends) {
  for (auto& backend : backends()) {
    for (Activation activation : {Activation::Silu, Activation::Gelu}) {
      for (size_t n : {1u, 15u, 16u, 17u, 1000u, 40000u}) {
        auto gate = random_floats(n, 4.0f), up = random_floats(n), expected = gate;
        gate[0] = expected[0] = -1000;
        const auto input = gate;
        twin::gate(activation, expected.data(), up.data(), static_cast<int64_t>(n));
        CHECK(backend->gate(backend->self, activation, ptr(gate), ptr(up), static_cast<int64_t>(n)).ok());
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
      CHECK(backend->gate(backend->self, Activation::GeluErf, ptr(x), ptr(up), count).ok());
      CHECK(backend->gate(backend->self, Activation::GeluErf, ptr(alone), nullptr, count).ok());
      // The formula is off by 1.5e-7 of erf, half of that of its half; some units of roundings come with it.
      std::vector<double> bound(n), bound_alone(n);
      for (size_t i = 0; i < n; ++i) {
        bound_alone[i] = (0.75e-7 + 8 * kUnit) * std::abs(double{input[i]}) + 1e-30;
        bound[i] = bound_alone[i] * std::abs(double{up[i]}) + 1e-30;
      }
      CHECK(worst(expected, x, bound) <= 1.0);
      CHECK(worst(expected_alone, alone, bound_alone) <= 1.0);
    }
  }
}

TEST(layer_norm_agrees_with_its_twin) {
  for (auto& backend : backends()) {
    for (int cols : {2, 15, 16, 17, 64, 384}) {
      const int rows = 37;
      const auto n = static_cast<size_t>(rows * cols);
      auto x = random_floats(n), weight = random_floats(static_cast<size_t>(cols)), bias = weight;
      for (float& value : x) value += 3.0f;  // far from zero, as hidden states are
      std::vector<float> expected(n), got(n, kNaN);
      twin::layer_norm(x.data(), weight.data(), bias.data(), 1e-5f, rows, cols, expected.data());
      CHECK(backend->layer_norm(backend->self, ptr(x), ptr(weight), ptr(bias), 1e-5f, rows, cols, ptr(got)).ok());
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
    for (int cols : {1, 15, 16, 17, 64, 576}) {
      const int rows = 37;
      auto x = random_floats(static_cast<size_t>(rows * cols)), weight = random_floats(static_cast<size_t>(cols));
      std::vector<float> expected(x.size()), got(x.size(), kNaN);
      twin::rms_norm(x.data(), weight.data(), 1e-5f, rows, cols, expected.data());
      CHECK(backend->rms_norm(backend->self, ptr(x), ptr(weight), 1e-5f, rows, cols, ptr(got)).ok());
      std::vector<double> bound(x.size());  // half the sum's relative error, and five roundings
      for (size_t i = 0; i < x.size(); ++i) bound[i] = (cols / 2.0 + 6) * kUnit * std::abs(double{expected[i]}) + 1e-30;
      CHECK(worst(expected, got, bound) <= 1.0);
    }
  }
}

TEST(rows_go_to_experts_and_come_back) {
  for (auto& backend : backends()) {
    auto x = random_floats(5 * 3), total = std::vector<float>(5 * 3, 0.0f);
    std::vector<int32_t> ids = {4, 1};
    std::vector<float> picked(6, kNaN), weights = {0.5f, 2.0f};
    CHECK(backend->gather_rows(backend->self, ptr(x), ptr(ids), 2, 3, ptr(picked)).ok());
    CHECK(backend->scatter_add(backend->self, ptr(picked), ptr(ids), ptr(weights), 2, 3, ptr(total)).ok());
    for (size_t c = 0; c < 3; ++c) CHECK(total[4 * 3 + c] == 0.5f * x[4 * 3 + c] && total[3 + c] == 2 * x[3 + c]);
    CHECK(total[0] == 0 && total[2 * 3] == 0);
    CHECK(backend->add(backend->self, ptr(total), ptr(x), 2.0f, 15).ok());
    CHECK(backend->scale(backend->self, ptr(total), 0.5f, 15).ok());
    CHECK(total[0] == x[0] && std::abs(total[12] - 1.25f * x[12]) <= 2 * kUnit * std::abs(x[12]));
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
