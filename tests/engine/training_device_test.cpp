// Training on a card: which device trains, that it learns what the processor learns, and what happens when the card
// stops. The card is the emulator's.
#include <cmath>

#include "engine/train/arena.h"
#include "tests/support/kernels.h"
#include "tests/support/simt/control.h"
#include "tests/support/training_rig.h"

using namespace longleaf;
using namespace longleaf::train;
using namespace longleaf::test;

namespace {

constexpr const char* kDriver = LONGLEAF_SIMT_DRIVER;

struct Rig : TrainingRig {
  explicit Rig(const std::string& device) {
    options.device = device;
    options.n_threads = 2;
    options.gpu = simt_options(kDriver);
    options.steps.optimizer.total_steps = 2, options.steps.corpus_steps = 1;
    options.steps.tokens_per_corpus_step = 30, options.steps.questions_per_step = 1, options.steps.most_nodes = 4;
    options.held_out = 0, options.score_every = 1;
  }
};

std::vector<double> losses(const TrainingRun& run) {
  std::vector<double> all;
  const auto log = run.log();
  if (log.ok())
    for (const LoggedStep& step : *log) all.push_back(step.report.loss);
  return all;
}

}  // namespace

TEST(a_card_learns_what_the_processor_learns) {
  Emulator emulator(kDriver);
  Rig card("cuda"), processor("cpu");
  std::vector<std::vector<double>> all;
  for (Rig* rig : {&card, &processor}) {
    const auto training = TrainingRun::prepare(rig->options, rig->input);
    REQUIRE_OK(training);
    REQUIRE_OK((*training)->run(nullptr, {}));
    all.push_back(losses(**training));
  }
  REQUIRE(all[0].size() == 2 && all[1].size() == 2);
  // The log has six digits. The optimiser divides by the size of a gradient: where that is near zero, rounding decides
  // which way a number goes, by at most the rate a step (0.002) each; losses move by far less.
  for (size_t step = 0; step < 2; ++step)
    CHECK(std::abs(all[0][step] - all[1][step]) < (step == 0 ? 2e-5 : 1e-3) * all[1][step]);
}

TEST(a_run_on_a_card_that_was_stopped_goes_on_to_the_same_bits) {
  Emulator emulator(kDriver);
  Rig whole("cuda"), stopped("cuda");
  REQUIRE_OK(whole.run());
  REQUIRE_OK(stopped.run(1));
  REQUIRE_OK(stopped.run());
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"}) CHECK(whole.file(name) == stopped.file(name));
}

TEST(the_device_is_chosen_as_everywhere_and_named_in_the_plan) {
  Emulator emulator(kDriver);
  const auto device_of = [](const std::string& device, size_t limit_bytes = 0) {
    Rig rig(device);
    rig.options.memory_limit_bytes = limit_bytes;
    const auto training = TrainingRun::prepare(rig.options, rig.input);
    return training.ok() ? (*training)->plan().device : training.status().message();
  };
  const std::string card = device_of("cuda"), processor = device_of("cpu");
  CHECK(processor.starts_with("CPU") && !card.starts_with("CPU"));
  CHECK_EQ(device_of("auto"), card);
  emulator.settings.memory_bytes = size_t{17} << 20;  // which is too small for a step
  CHECK_EQ(device_of("auto"), processor);
  CHECK(device_of("cuda").find("Training would take about") != std::string::npos);
  emulator.settings.memory_bytes = 100000;  // and for the weights
  CHECK(device_of("cuda").find("weights take") != std::string::npos);
  emulator.settings.memory_bytes = size_t{1} << 30;
  CHECK(device_of("cuda", size_t{18} << 20).find("may have 18 MiB") != std::string::npos);
  emulator.settings.shared_bytes = 20 << 10;  // too little for any head
  CHECK_EQ(device_of("auto"), processor);
  CHECK(device_of("cuda").find("heads of") != std::string::npos);
  emulator.settings.shared_bytes = 227 << 10;
  emulator.settings.cards = 2;
  emulator.settings.taken_bytes = emulator.settings.memory_bytes - (size_t{10} << 20);  // of the first card's
  CHECK(device_of("auto") != processor);
  emulator.settings.taken_bytes = 0;
  CHECK(device_of("cuda:0,cuda:1").find("one card") != std::string::npos);
  emulator.settings.cards = 0;
  CHECK_EQ(device_of("auto"), processor);
  CHECK(device_of("cuda:0").starts_with("There is no NVIDIA card 0"));
}

TEST(the_memory_that_is_stated_is_what_a_card_gives_at_most) {
  Emulator emulator(kDriver);
  Rig rig("cuda");
  const auto training = TrainingRun::prepare(rig.options, rig.input);
  REQUIRE_OK(training);
  const auto result = (*training)->run(nullptr, {});
  REQUIRE_OK(result);
  std::printf("  stated %.1f MiB, taken %.1f MiB\n", static_cast<double>((*training)->plan().bytes) / (1 << 20),
              static_cast<double>(result->peak_bytes) / (1 << 20));
  const auto stated = static_cast<double>((*training)->plan().bytes), peak = static_cast<double>(result->peak_bytes);
  CHECK(peak <= stated && stated <= peak + 1.5 * Arena::kChunkBytes);
}

TEST(weights_that_stay_on_the_card_are_stated) {
  Emulator emulator(kDriver);
  Rig card("cuda"), processor("cpu");
  const auto on_card = TrainingRun::prepare(card.options, card.input);
  const auto on_processor = TrainingRun::prepare(processor.options, processor.input);
  REQUIRE(on_card.ok() && on_processor.ok());
  const TrainingPlan &there = (*on_card)->plan(), &here = (*on_processor)->plan();
  // What is saved is gathered in the processor's memory: three numbers of each that is trained.
  const auto weights = static_cast<int64_t>(there.bytes - here.bytes) + 12 * there.parameters;
  CHECK(weights > static_cast<int64_t>(std::filesystem::file_size(card.options.model) / 2));
}

TEST(products_are_the_same_bits_whatever_the_tile) {
  Emulator emulator(kDriver);
  std::vector<std::vector<float>> all;
  for (const int multiprocessors : {1, 1000}) {  // large tiles, small tiles
    emulator.settings.multiprocessors = multiprocessors;
    auto backend = kernels::make_cuda_backend(simt_options(kDriver));
    REQUIRE_OK(backend);
    rng.seed(5);
    const OnDevice a(**backend, random_floats(300 * 40)), b(**backend, random_floats(40 * 200));
    const OnDevice c(**backend, std::vector<float>(300 * 200, kNaN));
    const kernels::GemmArgs g{{a.data(), 40, 1}, {b.data(), 200, 1}, c.data(), 200, 300, 200, 40, 1, false};
    REQUIRE((*backend)->training->gemm((*backend)->self, g).ok());
    all.push_back(c.read());
  }
  CHECK(all[0] == all[1]);
}

TEST(a_card_that_is_lost_ends_the_run_with_a_sentence_and_it_goes_on_afterwards) {
  Emulator emulator(kDriver);
  Rig whole("cuda"), lost("cuda");
  REQUIRE_OK(whole.run());
  emulator.settings.launches_to_loss = 1500;
  const auto result = lost.run();
  CHECK(result.status().code() == Code::DeviceLost);
  CHECK(std::filesystem::exists(lost.folder / "a.gguf.state"));  // of the first step
  emulator.settings.launches_to_loss = -1;
  REQUIRE_OK(lost.run());
  for (const char* name : {"a.gguf", "a.gguf.state"}) CHECK(whole.file(name) == lost.file(name));
}
