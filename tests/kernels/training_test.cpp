// The operations of training, on every instruction set or on a GPU, against their twins.
#include "kernels/blocks.h"
#include "kernels/panels.h"
#include "kernels/training_cpu.h"
#include "tests/support/attending.h"
#include "tests/support/kernels.h"
#include "tests/support/random_weight.h"

using namespace longleaf;
using namespace longleaf::kernels;
using namespace longleaf::test;

TEST(adam_follows_steps_worked_out_by_hand) {
  // Step 1 of AdamW moves by the rate against the gradient's sign, whatever its size, and shrinks by rate * decay.
  for (auto& backend : backends()) {
    if (backend->training == nullptr) continue;
    const OnDevice value(*backend, std::vector<float>{1.0f, -2.0f}), m(*backend, std::vector<float>{0, 0});
    const OnDevice v(*backend, std::vector<float>{0, 0}), gradient(*backend, std::vector<float>{10.0f, -0.5f});
    AdamStep step{value.data(), gradient.data(), m.data(), v.data(), 2};
    step.rate = 0.1f, step.decay = 0.5f;
    CHECK(backend->training->adam(backend->self, step).ok());
    CHECK(std::abs(value.read()[0] - (1.0f - 0.1f - 0.05f)) < 1e-6f);
    CHECK(std::abs(value.read()[1] - (-2.0f + 0.1f + 0.1f)) < 1e-6f);
    // Step 2 with a gradient of zero: m = 0.9 * 0.1 g, v = 0.999 * 0.001 g²; corrected, m / sqrt(v) is
    // (0.09 / 0.19) / sqrt(0.000999 / 0.001999) = 0.670059…
    const OnDevice none(*backend, std::vector<float>{0, 0});
    step.gradient = none.data(), step.step = 2, step.decay = 0;
    const auto before = value.read();
    CHECK(backend->training->adam(backend->self, step).ok());
    CHECK(std::abs(value.read()[0] - (before[0] - 0.1f * 0.670059f)) < 2e-6f);
  }
}

namespace {

// Every version against the twin, on every instruction set or on the GPU.
template <typename Run>
void on_devices(const Run& run) {
  for (auto& backend : backends())
    if (backend->training != nullptr) run(*backend, *backend->training);
}

std::vector<double> bounds(size_t n, double bound) { return std::vector<double>(n, bound); }

float largest(const std::vector<float>& v) {
  float top = 0;
  for (const float x : v) top = std::max(top, std::abs(x));
  return top;
}

}  // namespace

TEST(products_agree_with_the_twin_at_every_size_and_every_transpose) {
  struct Size {
    int m, n, k;
  };
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    for (const Size& s : {Size{1, 1, 1},
                          {3, 5, 0},
                          {11, 31, 7},
                          {12, 32, 16},
                          {13, 33, 255},
                          {121, 17, 256},
                          {25, 513, 257},
                          {240, 70, 600},
                          {300, 200, 40}}) {
      for (int kind = 0; kind < 8; ++kind) {
        const bool left = (kind & 1) != 0, right = (kind & 2) != 0, add = (kind & 4) != 0;
        auto a = random_floats(static_cast<size_t>(s.m * s.k)), b = random_floats(static_cast<size_t>(s.k * s.n));
        auto expected = add ? random_floats(static_cast<size_t>(s.m * s.n))
                            : std::vector<float>(static_cast<size_t>(s.m * s.n), kNaN);
        const OnDevice da(backend, a), db(backend, b), dc(backend, expected);
        GemmArgs g{{ptr(a), left ? 1 : s.k, left ? s.m : 1},
                   {ptr(b), right ? 1 : s.n, right ? s.k : 1},
                   ptr(expected),
                   s.n,
                   s.m,
                   s.n,
                   s.k,
                   0.5f,
                   add};
        const float bound = static_cast<float>(s.k + 2) * largest(a) * largest(b) + largest(expected);
        twin::gemm(g);
        g.a.data = da.data(), g.b.data = db.data(), g.c = dc.data();
        CHECK(ops.gemm(backend.self, g).ok());
        // k products and sums, each rounded once, of numbers below the bound's.
        CHECK(worst(expected, dc.read(), bounds(expected.size(), (s.k + 2) * kUnit * double{bound} + 1e-30)) <= 1.0);
      }
    }
  });
}

// Above 1,048,576 numbers the threads of a card take several each.
TEST(a_million_numbers_are_all_seen) {
  constexpr size_t kMany = (size_t{1} << 20) + 3000;
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    const auto numbers = random_floats(kMany);
    const OnDevice x(backend, numbers), y(backend, std::vector<float>(kMany, kNaN));
    const auto n = static_cast<int64_t>(kMany);
    CHECK(ops.copy(backend.self, x.data(), y.data(), kMany * sizeof(float)).ok());
    CHECK(y.read() == numbers);
    double sum = 0;
    for (const float one : numbers) sum += double{one} * double{one};
    const auto squares = ops.squares(backend.self, x.data(), n);
    CHECK(squares.ok() && std::abs(*squares - sum) < 1e-9 * sum);
    const OnDevice m(backend, std::vector<float>(kMany, 0.0f)), v(backend, std::vector<float>(kMany, 0.0f));
    AdamStep step{y.data(), x.data(), m.data(), v.data(), n};
    step.rate = 0.125f, step.epsilon = 0;
    CHECK(ops.adam(backend.self, step).ok());
    const auto after = y.read();  // the first step moves by the rate against the gradient's sign
    for (const size_t i : {size_t{0}, kMany / 2, kMany - 2900, kMany - 1})
      CHECK(std::abs(after[i] - (numbers[i] - std::copysign(0.125f, numbers[i]))) < 1e-6f);
  });
}

TEST(weights_are_unpacked_to_what_the_file_says) {
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    for (const Format& format : kFormats) {
      const int rows = 19, cols = is_quantized(format.type) ? 512 : 97;
      const auto bytes = random_weight(format.type, rows, cols, rng);
      const Weight weight{format.type, rows, cols, bytes.data()};
      std::vector<float> expected(static_cast<size_t>(rows * cols));
      for (int i = 0; i < rows; ++i)
        dequantize_row(format.type, bytes.data() + static_cast<size_t>(i) * row_bytes(format.type, cols), cols,
                       expected.data() + i * cols);
      Buffer packed;
      if (ops.unpacks_packed) {
        auto memory = Buffer::allocate(backend, backend.packed_bytes(backend.self, weight));
        CHECK(memory.ok());
        packed = std::move(*memory);
        CHECK(backend.pack(backend.self, weight, packed.data()).ok());
      }
      const OnDevice out(backend, std::vector<float>(expected.size(), kNaN));
      CHECK(ops.unpack(backend.self, weight, packed.data(), out.data()).ok());
      CHECK(out.read() == expected);
    }
  });
}

TEST(attention_agrees_with_the_twin_and_so_does_what_flows_back) {
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    constexpr int kDims[] = {16, 16, 33, 33, 100, 200};
    for (int kind = 0; kind < 6; ++kind) {
      Attending shape;
      shape.heads = 4, shape.kv_heads = kind % 2 == 0 ? 2 : 1, shape.head_dim = kDims[kind];
      shape.sequences = {{0, 1, 0, 1}, {1, 61, 1, 61}, {62, 130, 62, 150}, {192, 3, 212, 40}};
      shape.queries = 195, shape.keys = 252;
      shape.soft_cap = kind == 1 ? 2 : 0, shape.window = kind == 2 ? 17 : kind == 3 ? 70 : 0;
      auto q = random_floats(shape.query_size()), k = random_floats(shape.key_size());
      auto v = random_floats(shape.key_size()), dout = random_floats(shape.query_size());
      std::vector<float> out(q.size(), kNaN), norms(static_cast<size_t>(shape.queries * shape.heads), kNaN);
      auto dq = random_floats(q.size()), dk = random_floats(k.size()), dv = random_floats(k.size());
      const OnDevice on_q(backend, q), on_k(backend, k), on_v(backend, v), on_dout(backend, dout);
      const OnDevice on_out(backend, out), on_norms(backend, norms), on_dq(backend, dq), on_dk(backend, dk);
      const OnDevice on_dv(backend, dv);
      SequenceAttention args = shape.args(), device = args;
      args.q = ptr(q), args.k = ptr(k), args.v = ptr(v), args.out = ptr(out), args.norms = ptr(norms);
      device.q = on_q.data(), device.k = on_k.data(), device.v = on_v.data();
      device.out = on_out.data(), device.norms = on_norms.data();
      twin::attention(args);
      twin::attention_back({args, ptr(dout), ptr(dq), ptr(dk), ptr(dv)});
      CHECK(ops.attention(backend.self, device).ok());
      CHECK(ops.attention_back(backend.self, {device, on_dout.data(), on_dq.data(), on_dk.data(), on_dv.data()}).ok());
      // A score is a sum of head_dim products: its error, and with it a share's relative error, is below
      // (head_dim + 2) units of scale * head_dim * |q||k|. Everything else is a sum of at most 150 keys (or 4 heads
      // times 130 queries) of such shares with numbers below the largest.
      const double d = shape.head_dim, score = shape.scale * d * double{largest(q)} * double{largest(k)};
      const double share = (d + 8) * kUnit * (1 + score);
      CHECK(worst(out, on_out.read(), bounds(out.size(), (share + 150 * kUnit) * double{largest(v)})) <= 1.0);
      CHECK(worst(norms, on_norms.read(), bounds(norms.size(), share + 150 * kUnit)) <= 1.0);
      const double flow = 2 * shape.scale * d * double{largest(dout)} * double{largest(v)};
      const double back = 3 * (share + (d + 150) * kUnit) * flow;
      CHECK(worst(dq, on_dq.read(), bounds(dq.size(), back * double{largest(k)})) <= 1.0);
      CHECK(worst(dk, on_dk.read(), bounds(dk.size(), 4 * back * double{largest(q)})) <= 1.0);
      CHECK(worst(dv, on_dv.read(), bounds(dv.size(), 4 * 3 * (share + 520 * kUnit) * double{largest(dout)})) <= 1.0);
    }
  });
}

TEST(norms_gates_and_losses_agree_with_their_twins) {
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    for (int cols : {1, 15, 16, 17, 100, 700}) {
      const int rows = 35;
      const auto n = static_cast<size_t>(rows * cols);
      auto x = random_floats(n), weight = random_floats(static_cast<size_t>(cols)), dy = random_floats(n);
      auto dx = random_floats(n), dweight = random_floats(static_cast<size_t>(cols));
      const OnDevice on_x(backend, x), on_weight(backend, weight), on_dy(backend, dy), on_dx(backend, dx);
      const OnDevice on_dweight(backend, dweight);
      twin::rms_norm_back({ptr(x), ptr(weight), ptr(dy), ptr(dx), ptr(dweight), rows, cols, 0.01f});
      CHECK(ops.rms_norm_back(backend.self, {on_x.data(), on_weight.data(), on_dy.data(), on_dx.data(),
                                             on_dweight.data(), rows, cols, 0.01f})
                .ok());
      // 1/root is below 10 (eps = 0.01); sums of cols products.
      const double bound = (cols + 8) * kUnit * double{largest(weight)} * double{largest(dy)} * 10 *
                           (1 + 100 * double{largest(x)} * double{largest(x)});
      CHECK(worst(dx, on_dx.read(), bounds(n, bound)) <= 1.0);
      CHECK(worst(dweight, on_dweight.read(), bounds(dweight.size(), rows * bound)) <= 1.0);

      for (Activation activation : {Activation::Silu, Activation::Gelu, Activation::GeluErf}) {
        auto dgate = random_floats(n), dup = random_floats(n), gate = x;
        gate[0] = -100, gate[n - 1] = 100;
        const OnDevice on_gate(backend, gate), on_dgate(backend, dgate), on_dup(backend, dup);
        const auto count = static_cast<int64_t>(n);
        twin::gate_back({activation, ptr(gate), ptr(dy), ptr(dy), ptr(dgate), ptr(dup), count});
        CHECK(ops.gate_back(backend.self, {activation, on_gate.data(), on_dy.data(), on_dy.data(), on_dgate.data(),
                                           on_dup.data(), count})
                  .ok());
        // Slopes are below 1.2; the exponent's error counts times |x| (largest 8 of those that are not flat).
        const double slope = 200 * kUnit * double{largest(dy)} * (1 + double{largest(dy)});
        CHECK(worst(dgate, on_dgate.read(), bounds(n, slope)) <= 1.0);
        CHECK(worst(dup, on_dup.read(), bounds(n, slope * 100)) <= 1.0);
      }

      for (float cap : {0.0f, 1.5f}) {
        auto logits = x, losses = std::vector<float>(static_cast<size_t>(rows), kNaN), shares = random_floats(35);
        std::vector<int32_t> targets;
        for (int row = 0; row < rows; ++row) targets.push_back(row % cols);
        const OnDevice on_logits(backend, logits), on_losses(backend, losses), on_shares(backend, shares);
        const OnDevice on_targets(backend, targets);
        twin::cross_entropy({ptr(logits), ptr(targets), ptr(shares), ptr(losses), rows, cols, 0.7f, cap});
        CHECK(ops.cross_entropy(backend.self, {on_logits.data(), on_targets.data(), on_shares.data(), on_losses.data(),
                                               rows, cols, 0.7f, cap})
                  .ok());
        const double unit = (cols + 16) * kUnit * (1 + double{largest(x)});
        CHECK(worst(losses, on_losses.read(), bounds(losses.size(), unit)) <= 1.0);
        CHECK(worst(logits, on_logits.read(), bounds(n, unit * (1 + double{largest(shares)}))) <= 1.0);
      }
    }
  });
}

TEST(shares_agree_with_their_twins) {
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    for (const int cols : {1, 2, 31, 300, 900}) {
      const int rows = 5;
      const auto n = static_cast<size_t>(rows * cols);
      auto x = random_floats(n, 3), y = std::vector<float>(n, kNaN), dy = random_floats(n), dx = random_floats(n);
      const OnDevice on_x(backend, x), on_y(backend, y), on_dy(backend, dy), on_dx(backend, dx);
      twin::softmax({ptr(x), ptr(y), nullptr, nullptr, rows, cols});
      twin::softmax_back({nullptr, ptr(y), ptr(dy), ptr(dx), rows, cols});
      CHECK(ops.softmax(backend.self, {on_x.data(), on_y.data(), nullptr, nullptr, rows, cols}).ok());
      CHECK(ops.softmax_back(backend.self, {nullptr, on_y.data(), on_dy.data(), on_dx.data(), rows, cols}).ok());
      // Shares are below 1; their relative error is that of a sum, and of differences of up to twice the largest.
      const double share = (cols + 8 + 2 * double{largest(x)}) * kUnit;
      CHECK(worst(y, on_y.read(), bounds(n, share)) <= 1.0);
      CHECK(worst(dx, on_dx.read(), bounds(n, 4 * share * (1 + double{largest(dy)}) + kUnit * largest(dx))) <= 1.0);
    }
  });
}

TEST(smaller_operations_do_what_they_say) {
  on_devices([&](const Backend& backend, const TrainingOps& ops) {
    const OnDevice x(backend, std::vector<float>{1, 2, 3, 4, -5, 6}), factors(backend, std::vector<float>{10, -1});
    const OnDevice out(backend, std::vector<float>(6, kNaN)), dots(backend, std::vector<float>{100, 200});
    CHECK(ops.scale_rows(backend.self, x.data(), factors.data(), 2, 3, out.data(), false).ok());
    CHECK(out.read() == (std::vector<float>{10, 20, 30, -4, 5, -6}));
    CHECK(ops.scale_rows(backend.self, x.data(), factors.data(), 2, 3, out.data(), true).ok());
    CHECK(out.read() == (std::vector<float>{20, 40, 60, -8, 10, -12}));
    CHECK(ops.dot_rows(backend.self, x.data(), x.data(), 2, 3, dots.data()).ok());
    CHECK(dots.read() == (std::vector<float>{114, 277}));
    const OnDevice ids(backend, std::vector<int32_t>{1, 1});
    const OnDevice sums(backend, std::vector<float>{1, 1, 1, 2, 2, 2});
    CHECK(ops.add_rows(backend.self, x.data(), ids.data(), 2, 3, sums.data()).ok());
    CHECK(sums.read() == (std::vector<float>{1, 1, 1, 7, -1, 11}));
    // Ids that come again far behind, and some that never come.
    std::vector<int32_t> wide_ids;
    for (int i = 0; i < 700; ++i) wide_ids.push_back(i % 3 == 0 ? 5 : i % 200);
    const auto parts = random_floats(700 * 3);
    auto expected = random_floats(210 * 3);
    const OnDevice on_ids(backend, wide_ids);
    const OnDevice on_parts(backend, parts), on_sums(backend, expected);
    for (size_t i = 0; i < parts.size(); ++i) expected[static_cast<size_t>(wide_ids[i / 3]) * 3 + i % 3] += parts[i];
    CHECK(ops.add_rows(backend.self, on_parts.data(), on_ids.data(), 700, 3, on_sums.data()).ok());
    CHECK(on_sums.read() == expected);
    // Rows that are wider than a block of threads.
    const auto wide = random_floats(2 * 600);
    const OnDevice on_wide(backend, wide), scaled(backend, std::vector<float>(1200, kNaN));
    const OnDevice wide_dots(backend, std::vector<float>{0, 0}), wide_sums(backend, std::vector<float>(1200, 1.0f));
    CHECK(ops.scale_rows(backend.self, on_wide.data(), factors.data(), 2, 600, scaled.data(), false).ok());
    CHECK(ops.dot_rows(backend.self, on_wide.data(), on_wide.data(), 2, 600, wide_dots.data()).ok());
    CHECK(ops.add_rows(backend.self, on_wide.data(), ids.data(), 2, 600, wide_sums.data()).ok());
    const auto all_scaled = scaled.read(), all_sums = wide_sums.read();
    double dot = 0;
    for (size_t i = 600; i < 1200; ++i) {
      CHECK(all_scaled[i - 600] == 10 * wide[i - 600] && all_scaled[i] == -wide[i]);
      CHECK(all_sums[i - 600] == 1 && all_sums[i] == (1 + wide[i - 600]) + wide[i]);
      dot += double{wide[i]} * double{wide[i]};
    }
    CHECK(std::abs(double{wide_dots.read()[1]} - dot) < 600 * kUnit * dot);
    const OnDevice copied(backend, std::vector<float>(6, kNaN));
    CHECK(ops.copy(backend.self, x.data(), copied.data(), 5 * sizeof(float)).ok());
    CHECK(copied.read()[4] == -5 && std::isnan(copied.read()[5]));
    const OnDevice leaky(backend, std::vector<float>(6, kNaN));
    CHECK(ops.leaky(backend.self, x.data(), 0.5f, 6, leaky.data()).ok());
    CHECK(leaky.read() == (std::vector<float>{1, 2, 3, 4, -2.5f, 6}));
    CHECK(ops.leaky_back(backend.self, x.data(), x.data(), 0.5f, 6, leaky.data()).ok());
    CHECK(leaky.read() == (std::vector<float>{2, 4, 6, 8, -5, 12}));
    const auto many = random_floats(50000);
    const OnDevice on_many(backend, many);
    double sum = 0;
    for (const float one : many) sum += double{one} * double{one};
    auto squares = ops.squares(backend.self, on_many.data(), 50000);
    CHECK(squares.ok() && std::abs(*squares - sum) < 1e-9 * sum);
  });
}

TEST(no_result_depends_on_the_number_of_threads) {
  if (test_gpu() != nullptr) return;
  auto one = make_cpu_backend({.isa = Isa::Best, .n_threads = 1, .limit_bytes = 0});
  auto three = make_cpu_backend({.isa = Isa::Best, .n_threads = 3, .limit_bytes = 0});
  const auto a = random_floats(300 * 700), b = random_floats(700 * 90);
  std::vector<std::vector<float>> products, norms;
  std::vector<double> squares;
  for (const Backend* backend : {one.get(), three.get()}) {
    const OnDevice on_a(*backend, a), on_b(*backend, b), c(*backend, std::vector<float>(300 * 90, kNaN));
    const GemmArgs g{{on_a.data(), 700, 1}, {on_b.data(), 90, 1}, c.data(), 90, 300, 90, 700, 1, false};
    CHECK(backend->training->gemm(backend->self, g).ok());
    products.push_back(c.read());
    const OnDevice dx(*backend, std::vector<float>(300 * 700)), dweight(*backend, std::vector<float>(700));
    const NormBack norm{on_a.data(), on_b.data(), on_a.data(), dx.data(), dweight.data(), 300, 700, 1e-5f};
    CHECK(backend->training->rms_norm_back(backend->self, norm).ok());
    norms.push_back(dweight.read());
    squares.push_back(*backend->training->squares(backend->self, on_a.data(), 300 * 700));
  }
  CHECK(products[0] == products[1]);
  CHECK(norms[0] == norms[1]);
  CHECK(squares[0] == squares[1]);
}
