// Every operation of the tape against differences, and what checkpoints promise.
#include "engine/train/tape.h"

#include <cmath>
#include <functional>

#include "tests/support/check.h"
#include "tests/support/kernels.h"

using namespace longleaf;
using namespace longleaf::test;
using train::Batch;
using train::Tape;
using train::Var;

namespace {

// An operation under test: makes a result of inputs that all want gradients.
using Operation = std::function<Var(Tape&, const std::vector<Var>&)>;

struct Input {
  int rows, cols;
  std::vector<float> values;
};

Input random_input(int rows, int cols) { return {rows, cols, random_floats(static_cast<size_t>(rows * cols))}; }

// sum of cos(i + 1) times the result's numbers, and what flows back to each input.
double run(const Operation& operation, const std::vector<Input>& inputs, std::vector<std::vector<float>>* gradients) {
  const auto backend = make_cpu_backend({.isa = Isa::Best, .n_threads = 2, .limit_bytes = 0});
  Tape tape(*backend);
  std::vector<Var> vars;
  for (const Input& input : inputs) vars.push_back(tape.constant(input.rows, input.cols, input.values, true));
  const Var y = operation(tape, vars);
  const double sum = tape.loss(y, [](std::span<const float> x, std::span<float> slopes) {
    double total = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double weight = std::cos(static_cast<double>(i + 1));
      total += weight * double{x[i]};
      slopes[i] = static_cast<float>(weight);
    }
    return total;
  });
  const Status status = tape.backward();
  if (!status.ok()) fail(__FILE__, __LINE__, status.message());
  if (gradients != nullptr)
    for (const Var v : vars) gradients->push_back(tape.read_gradient(v));
  return sum;
}

// Bound: with steps of 2^-6 the difference is off by their square times a third derivative of a few units, and by the
// rounding of sums in f32 over the step.
void check_operation(const char* name, const Operation& operation, std::vector<Input> inputs) {
  constexpr float kStep = 0x1p-6f;
  std::vector<std::vector<float>> gradients;
  run(operation, inputs, &gradients);
  double worst = 0;
  for (size_t i = 0; i < inputs.size(); ++i)
    for (size_t j = 0; j < inputs[i].values.size(); ++j) {
      const float middle = inputs[i].values[j];
      inputs[i].values[j] = middle + kStep;
      const double above = run(operation, inputs, nullptr);
      inputs[i].values[j] = middle - kStep;
      const double slope = (above - run(operation, inputs, nullptr)) / (2 * double{kStep});
      inputs[i].values[j] = middle;
      worst = std::max(worst, std::abs(slope - double{gradients[i][j]}) / (1 + std::abs(slope)));
    }
  std::printf("  %s: %.2g\n", name, worst);
  CHECK(worst < 2e-4);
}

Batch two_sequences() {
  Batch batch;
  batch.add(3);
  batch.add(2);
  return batch;
}

}  // namespace

TEST(gradients_of_every_operation_agree_with_differences) {
  const auto in = random_input;
  for (const bool ta : {false, true})
    for (const bool tb : {false, true})
      check_operation("product",
                      [=](Tape& t, const std::vector<Var>& v) { return t.product(v[0], ta, v[1], tb, 0.5f); },
                      {ta ? in(4, 3) : in(3, 4), tb ? in(5, 4) : in(4, 5)});
  check_operation("product with itself", [](Tape& t, const auto& v) { return t.product(v[0], false, v[0], true); },
                  {in(3, 4)});
  check_operation("add", [](Tape& t, const auto& v) { return t.add(v[0], v[1], -2); }, {in(2, 3), in(2, 3)});
  check_operation("add to itself", [](Tape& t, const auto& v) { return t.add(v[0], v[0], 3); }, {in(2, 3)});
  check_operation("add_row", [](Tape& t, const auto& v) { return t.add_row(v[0], v[1]); }, {in(3, 4), in(1, 4)});
  check_operation("scaled", [](Tape& t, const auto& v) { return t.scaled(v[0], 3); }, {in(2, 2)});
  check_operation("rms_norm", [](Tape& t, const auto& v) { return t.rms_norm(v[0], v[1], 0.1f); },
                  {in(3, 6), in(1, 6)});
  check_operation("rms_norm of heads", [](Tape& t, const auto& v) { return t.rms_norm(v[0], v[1], 0.1f); },
                  {in(3, 6), in(1, 3)});
  for (const Activation activation : {Activation::Silu, Activation::Gelu})
    check_operation("gated", [=](Tape& t, const auto& v) { return t.gated(activation, v[0], v[1]); },
                    {in(2, 5), in(2, 5)});
  for (const RopeStyle style : {RopeStyle::Adjacent, RopeStyle::Halves})
    check_operation("rotated",
                    [=](Tape& t, const auto& v) {
                      return t.rotated(v[0], two_sequences(), {{1.0f, 0.3f}, 4, style, 1.5f}, 2);
                    },
                    {in(5, 12)});
  check_operation("attention",
                  [](Tape& t, const auto& v) {
                    return t.attention(v[0], v[1], v[2], two_sequences(), {4, 2, 3, 0.5f, 2, 2});
                  },
                  {in(5, 12), in(5, 6), in(5, 6)});
  check_operation("gathered", [](Tape& t, const auto& v) { return t.gathered(v[0], {2, 0, 2}); }, {in(3, 4)});
  check_operation("scattered", [](Tape& t, const auto& v) { return t.scattered(v[0], {2, 0, 2}, 4); }, {in(3, 4)});
  check_operation("stacked",
                  [](Tape& t, const auto& v) {
                    const Var parts[] = {v[0], v[1], v[0]};
                    return t.stacked(parts);
                  },
                  {in(2, 3), in(1, 3)});
  check_operation("reshaped",
                  [](Tape& t, const auto& v) { return t.product(t.reshaped(v[0], 3, 2), false, v[1], false); },
                  {in(2, 3), in(2, 2)});
  check_operation("softmax", [](Tape& t, const auto& v) { return t.softmax(v[0]); }, {in(2, 5)});
  check_operation("row_scaled", [](Tape& t, const auto& v) { return t.row_scaled(v[0], v[1]); }, {in(3, 4), in(3, 1)});
  check_operation("mean", [](Tape& t, const auto& v) { return t.mean(v[0]); }, {in(3, 4)});
  check_operation("leaky", [](Tape& t, const auto& v) { return t.leaky(v[0], 0.2f); },
                  {{2, 3, {1, -1, 0.5f, -2, 3, -0.25f}}});
}

TEST(losses_agree_with_differences_and_add_up) {
  const auto backend = make_cpu_backend();
  // More rows than are computed at once.
  const auto x = random_floats(300 * 4), w = random_floats(7 * 4);
  std::vector<int32_t> targets;
  std::vector<float> weights;
  for (int i = 0; i < 300; ++i) targets.push_back(i % 7), weights.push_back(i % 3 == 0 ? 0.0f : 0.01f);
  const auto loss = [&](const std::vector<float>& rows, const std::vector<float>& table, std::vector<float>* back_x,
                        std::vector<float>* back_w) {
    Tape tape(*backend);
    const Var vx = tape.constant(300, 4, rows, true), vw = tape.constant(7, 4, table, true);
    const double sum =
        tape.cross_entropy(vx, vw, targets, weights, 0.5f, 3) + tape.cross_entropy(vx, vw, targets, weights, 0.5f, 3);
    CHECK(tape.backward().ok());
    if (back_x != nullptr) *back_x = tape.read_gradient(vx), *back_w = tape.read_gradient(vw);
    return sum;
  };
  std::vector<float> back_x, back_w;
  loss(x, w, &back_x, &back_w);
  constexpr float kStep = 0x1p-6f;
  for (const size_t i : {size_t{0}, size_t{5}, size_t{1199}}) {
    auto above = x, below = x;
    above[i] += kStep, below[i] -= kStep;
    const double slope = (loss(above, w, nullptr, nullptr) - loss(below, w, nullptr, nullptr)) / (2 * double{kStep});
    CHECK(std::abs(slope - double{back_x[i]}) < 1e-4);
  }
  for (size_t i = 0; i < w.size(); ++i) {
    auto above = w, below = w;
    above[i] += kStep, below[i] -= kStep;
    const double slope = (loss(x, above, nullptr, nullptr) - loss(x, below, nullptr, nullptr)) / (2 * double{kStep});
    CHECK(std::abs(slope - double{back_w[i]}) < 1e-3);
  }
}

namespace {

// What flows back to a weight, and to x where it is wanted, when two branches of x are computed with checkpoints or
// without.
std::vector<std::vector<float>> branches(bool checkpoints, bool wanted) {
  const auto backend = make_cpu_backend();
  rng.seed(3);
  const auto x = random_floats(40 * 30), weight = random_floats(30 * 30);
  const OnDevice value(*backend, weight), gradient(*backend, std::vector<float>(weight.size()));
  Tape tape(*backend);
  const Var input = tape.constant(40, 30, x, wanted);
  // The branch that is gone through first on the way back takes the least memory: what it leaves must not be in the
  // way.
  const auto branch = [&](int n_bends) {
    return [&tape, &value, &gradient, n_bends](Var v) {
      Var y = tape.product(v, false, tape.variable(30, 30, value.data(), gradient.data()), true);
      y = tape.gated(Activation::Silu, v, y);
      for (int i = 0; i < n_bends; ++i) y = tape.leaky(y, 0.5f);
      return tape.rms_norm(y, tape.constant(1, 30, random_floats(30)), 0.1f);
    };
  };
  // The same numbers whenever a branch is computed.
  const auto seeded = [](auto f) {
    return [f](Var v) {
      rng.seed(5);
      return f(v);
    };
  };
  std::vector<Var> ends;
  for (const int n_bends : {5, 3, 1}) {
    const auto f = seeded(branch(n_bends));
    ends.push_back(checkpoints ? tape.checkpoint(input, f) : f(input));
  }
  const Var all = tape.stacked(ends);
  std::vector<int32_t> targets(120, 3);
  tape.cross_entropy(all, tape.constant(30, 30, weight), targets, std::vector<float>(120, 0.1f));
  CHECK(tape.backward().ok());
  std::vector<std::vector<float>> flows = {gradient.read()};
  flows.push_back(tape.read_gradient(input));  // nothing, where none is wanted
  return flows;
}

}  // namespace

TEST(checkpoints_of_one_value_give_the_bits_of_the_branches_themselves) {
  for (const bool wanted : {true, false}) CHECK(branches(true, wanted) == branches(false, wanted));
  CHECK(branches(true, false)[1] == std::vector<float>(40 * 30));
}

TEST(what_is_computed_aside_is_forgotten_and_what_is_kept_of_it_is_right) {
  const auto backend = make_cpu_backend();
  Tape tape(*backend);
  const Var x = tape.constant(1, 2, std::vector<float>{1, 2}, true);
  size_t bytes = 0;
  for (int i = 0; i < 50; ++i) {
    std::vector<float> seen;
    tape.aside([&] { seen = tape.read(tape.scaled(tape.constant(1, 1'000'000, random_floats(1'000'000)), 2)); });
    CHECK_EQ(seen.size(), size_t{1'000'000});
    if (i == 0) bytes = tape.bytes();
  }
  CHECK_EQ(tape.bytes(), bytes);
  const Var doubled = tape.kept(1, 2, [&] { return tape.add(x, tape.scaled(x, 1)); });
  CHECK(tape.read(doubled) == (std::vector<float>{2, 4}));
  tape.record(false);
  const Var unseen = tape.scaled(x, 3);
  const Var table = tape.constant(2, 2, std::vector<float>{1, 2, 3, 5}, true);
  CHECK(tape.cross_entropy(unseen, table, {0}, {1}) > 0);
  tape.record(true);
  CHECK(tape.backward().ok());
  CHECK(tape.read_gradient(x) == (std::vector<float>{0, 0}));
  CHECK(tape.read_gradient(table) == (std::vector<float>{0, 0, 0, 0}));
}

TEST(a_failure_stops_a_tape_and_clearing_it_makes_it_usable) {
  const auto small = make_cpu_backend({.isa = Isa::Best, .n_threads = 1, .limit_bytes = size_t{64} << 20});
  Tape tape(*small);
  const Var x = tape.constant(1, 4, random_floats(4), true);
  const Var large = tape.product(x, true, tape.constant(1, 4, random_floats(4)), false);
  CHECK_EQ(tape.rows(large), 4);
  const std::vector<float> wide(4'000'000);
  const Var row = tape.constant(1, 4'000'000, wide);
  const Var too_large = tape.product(x, true, row, false);  // 64 MB
  CHECK(tape.status().code() == Code::NoMemory);
  const Var behind = tape.softmax(tape.add(too_large, too_large));
  const Var parts[] = {behind, too_large};
  CHECK_EQ(tape.rows(tape.stacked(parts)), 0);
  CHECK(tape.read(tape.checkpoint(behind, [](Var v) { return v; })).empty());
  CHECK(tape.backward().code() == Code::NoMemory);
  tape.clear();
  CHECK(tape.read(tape.softmax(tape.constant(1, 2, std::vector<float>{0, 0}))) == (std::vector<float>{0.5f, 0.5f}));
  CHECK(tape.backward().ok());
}
