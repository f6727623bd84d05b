// Training: what a step promises, and what a training that goes on does.
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/train/decoder.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"
#include "tests/support/trained_model.h"

using namespace longleaf;
using namespace longleaf::train;

namespace {

using Rig = test::TrainedModel;
using test::cpu;

double norm_of(const std::vector<float>& values) {
  double squares = 0;
  for (const float x : values) squares += double{x} * double{x};
  return std::sqrt(squares);
}

}  // namespace

TEST(the_rate_rises_and_falls_in_each_part_of_a_training) {
  OptimizerSettings s;
  s.rate = 1, s.warm_up_steps = 4, s.total_steps = 30, s.first_steps = 20, s.last_rate = 0.1f;
  CHECK_EQ(rate_at(s, 1), 0.25f);
  CHECK_EQ(rate_at(s, 4), 1.0f);
  CHECK(std::abs(rate_at(s, 12) - 0.55f) < 1e-6f);  // half way down
  CHECK(std::abs(rate_at(s, 20) - 0.1f) < 1e-6f);
  CHECK_EQ(rate_at(s, 21), 0.25f);
  CHECK_EQ(rate_at(s, 24), 1.0f);
  CHECK(std::abs(rate_at(s, 27) - 0.55f) < 1e-6f);
  CHECK(std::abs(rate_at(s, 30) - 0.1f) < 1e-6f);
  s.first_steps = 0;
  CHECK(std::abs(rate_at(s, 17) - 0.55f) < 1e-6f);
}

TEST(sequences_that_are_computed_together_do_not_see_each_other) {
  const DecoderSettings all{.all_weights = true, .keeps_layers = false, .lora = {}};
  Rig together("mistral", all), apart("mistral", all);
  const double loss = together.run({25, 15});
  // The same sequences, one behind the other: the gradients add up in the parameters.
  const auto ids = test::golden_tokens();
  double sum = 0;
  size_t first = 0;
  for (const size_t n : {size_t{25}, size_t{15}}) {
    Tape tape(*apart.backend);
    Batch batch;
    batch.add(static_cast<int>(n));
    const Var rows = apart.decoder->run(tape, apart.decoder->embed(tape, std::span(ids).subspan(first, n)), batch);
    std::vector<int32_t> targets;
    std::vector<float> weights;
    for (size_t i = first; i < first + n; ++i) {
      targets.push_back(i + 1 < ids.size() ? ids[i + 1] : 0);
      weights.push_back(i + 1 < ids.size() ? 1.0f / 39 : 0.0f);
    }
    sum += apart.decoder->loss(tape, rows, targets, weights);
    CHECK(tape.backward().ok());
    first += n;
  }
  CHECK(std::abs(loss - sum) < 1e-6);
  for (const Parameter& p : together.parameters.all()) {
    const auto a = together.gradient(p), b = apart.gradient(*apart.parameters.find(p.name));
    const double size = norm_of(a);
    for (size_t i = 0; i < a.size(); ++i) CHECK(std::abs(double{a[i]} - double{b[i]}) <= 1e-5 * (size + 1e-6));
  }
}

namespace {

OptimizerSettings quick() {
  OptimizerSettings settings;
  settings.rate = 1e-2f, settings.warm_up_steps = 2, settings.total_steps = 12, settings.decay = 0.1f;
  return settings;
}

double take_steps(Rig& rig, int steps) {
  double loss = 0;
  for (int i = 0; i < steps; ++i) {
    loss = rig.run({40});
    auto norm = rig.parameters.step(quick());
    if (!norm.ok()) test::fail(__FILE__, __LINE__, norm.status().message());
  }
  return loss;
}

}  // namespace

TEST(training_that_is_taken_up_again_goes_on_to_the_same_bits_on_any_number_of_threads) {
  const DecoderSettings all{.all_weights = true, .keeps_layers = false, .lora = {}};
  Rig whole("qwen3", all), begun("qwen3", all), resumed("qwen3", all, cpu(1));
  take_steps(whole, 12);
  take_steps(begun, 5);
  auto saved = begun.parameters.state();
  REQUIRE_OK(saved);
  take_steps(resumed, 3);  // something else, which must not be left of
  REQUIRE_OK(resumed.parameters.restore(*saved));
  CHECK_EQ(resumed.parameters.steps(), 5);
  take_steps(resumed, 7);
  CHECK(*whole.parameters.state() == *resumed.parameters.state());
}

TEST(a_state_that_is_damaged_or_of_another_training_is_refused_and_changes_nothing) {
  const DecoderSettings all{.all_weights = true, .keeps_layers = false, .lora = {}};
  Rig rig("llama", all), other("qwen2", all);
  auto saved = rig.parameters.state();
  REQUIRE_OK(saved);
  const std::string before = *saved;
  for (size_t n : {size_t{0}, size_t{7}, size_t{20}, before.size() - 1})
    CHECK(rig.parameters.restore(std::string_view(before).substr(0, n)).code() == Code::Corrupt);
  std::string damaged = before;
  damaged[before.size() / 2] = static_cast<char>(damaged[before.size() / 2] ^ 1);
  CHECK(rig.parameters.restore(damaged).code() == Code::Corrupt);
  CHECK(rig.parameters.restore(*other.parameters.state()).code() == Code::Corrupt);
  CHECK(*rig.parameters.state() == before);
}

TEST(a_state_of_other_shapes_and_the_same_size_is_refused) {
  const auto backend = cpu();
  Parameters one(*backend), other(*backend);
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  REQUIRE_OK(one.add("w", 2, 3, values));
  REQUIRE_OK(other.add("w", 3, 2, values));
  for (Parameters* parameters : {&one, &other}) REQUIRE_OK(parameters->add("same", 1, 6, values));
  CHECK(other.restore(*one.state()).code() == Code::Corrupt);
}

TEST(decay_shrinks_matrices_and_leaves_norms_alone) {
  Rig rig("llama", {.all_weights = true, .keeps_layers = false, .lora = {}});
  OptimizerSettings settings;
  settings.rate = 0.5f, settings.decay = 0.1f;
  const Parameter &norm = *rig.parameters.find("output_norm.weight"),
                  &table = *rig.parameters.find("token_embd.weight");
  const auto norm_before = *rig.parameters.values(norm), table_before = *rig.parameters.values(table);
  REQUIRE_OK(rig.parameters.step(settings));  // with gradients of zero
  CHECK(*rig.parameters.values(norm) == norm_before);
  const auto after = *rig.parameters.values(table);
  for (size_t i = 0; i < after.size(); ++i) CHECK(std::abs(after[i] - 0.95f * table_before[i]) < 1e-6f);
}

TEST(gradients_are_divided_and_clipped_together) {
  // Plain AdamW hardly sees the size of a gradient; its epsilon does, where it is large.
  const auto backend = cpu();
  OptimizerSettings settings;
  settings.rate = 1, settings.decay = 0, settings.epsilon = 1e6f, settings.clip = 1, settings.beta1 = 0;
  const auto moved = [&](float clip, int parts) {
    Parameters parameters(*backend);
    Parameter& p = **parameters.add("w", 1, 2, std::vector<float>{0, 0});
    const float gradient[] = {6, 8};
    CHECK(backend->upload(backend->self, p.gradient.data(), gradient, 8).ok());
    settings.clip = clip;
    auto norm = parameters.step(settings, parts);
    CHECK(norm.ok() && std::abs(*norm - 10.0 / parts) < 1e-6);
    return -1e6f * (*parameters.values(p))[0];
  };
  CHECK(std::abs(moved(0, 1) - 6) < 1e-3f);
  CHECK(std::abs(moved(0, 2) - 3) < 1e-3f);
  CHECK(std::abs(moved(1, 2) - 0.6f) < 1e-3f);
  CHECK(std::abs(moved(100, 1) - 6) < 1e-3f);
}

TEST(a_step_whose_gradients_are_not_numbers_changes_nothing) {
  Rig rig("llama", {.all_weights = true, .keeps_layers = false, .lora = {}});
  rig.run({40});
  const Parameter& p = rig.parameters.all().front();
  const float bad = std::numeric_limits<float>::quiet_NaN();
  CHECK(rig.backend->upload(rig.backend->self, p.gradient.data(), &bad, 4).ok());
  const std::string before = *rig.parameters.state();
  CHECK(rig.parameters.step(quick()).status().code() == Code::Invalid);
  CHECK(*rig.parameters.state() == before);
  rig.run({40});
  CHECK(rig.parameters.step(quick()).ok());
}

TEST(a_model_is_trained_to_know_a_text_by_heart) {
  Rig rig("llama", {.all_weights = true, .keeps_layers = false, .lora = {}});
  OptimizerSettings settings;
  settings.rate = 1e-2f;
  const double first = rig.run({40});
  for (int i = 0; i < 150; ++i) {
    REQUIRE(rig.parameters.step(settings).ok());
    rig.run({40});
  }
  const double last = rig.run({40});
  std::printf("  loss %.3f, then %.3f\n", first, last);
  CHECK(last < 0.1);
}

TEST(memory_grows_with_the_rows_between_layers_and_not_with_what_a_layer_computes) {
  // Two models that differ in their number of layers alone: what the deeper one takes more is a matrix of rows per
  // layer. Of a layer's own matrices there are at least twelve times as many.
  std::vector<size_t> bytes;
  constexpr size_t kTokens = 4000;
  for (int layers : {2, 12}) {
    test::RandomModel shape;
    shape.layers = layers, shape.d_model = 64, shape.heads = 4, shape.kv_heads = 4, shape.d_ff = 256;
    const std::string gguf = test::random_model_gguf(shape);
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
    REQUIRE_OK(file);
    auto backend = cpu();
    Parameters parameters(*backend);
    DecoderSettings settings;
    settings.lora.rank = 2;
    auto decoder = Decoder::create(*file, *backend, parameters, settings);
    REQUIRE_OK(decoder);
    Tape tape(*backend);
    Batch batch;
    for (size_t i = 0; i < kTokens / 100; ++i) batch.add(100);
    const std::vector<TokenId> ids(kTokens, 7);
    const Var rows = (*decoder)->run(tape, (*decoder)->embed(tape, ids), batch);
    (*decoder)->loss(tape, rows, std::vector<int32_t>(kTokens, 8), std::vector<float>(kTokens, 1.0f));
    CHECK(tape.backward().ok());
    bytes.push_back(tape.bytes());
  }
  const size_t between = kTokens * 64 * 4;
  std::printf("  %zu KiB with 2 layers, %zu KiB with 12; rows between two take %zu KiB\n", bytes[0] >> 10,
              bytes[1] >> 10, between >> 10);
  // A row's value and its gradient, and what the chunks leave unused.
  CHECK(bytes[1] - bytes[0] <= 10 * 2 * between + (size_t{32} << 20));
  CHECK(bytes[1] - bytes[0] <= bytes[0]);
}
