// Which device computes, what is said where there is no GPU, and what happens when one stops. The GPU is the
// emulator's.
#include "engine/compute_device.h"

#include <filesystem>
#include <fstream>

#include "engine/engine.h"
#include "kernels/cuda/images.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"
#include "tests/support/simt/control.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

// Settings of the emulated driver, as new; they are put back at the end.
struct Emulator {
  Emulator() : settings(*simt_settings(LONGLEAF_SIMT_DRIVER)) { settings = {}; }
  ~Emulator() { settings = {}; }
  simt::Settings& settings;
};

DeviceRequest request(const std::string& name) {
  DeviceRequest r;
  r.name = name;
  r.gpu = simt_options(LONGLEAF_SIMT_DRIVER);
  return r;
}

// What is said when the card is asked for by name.
std::string refusal(const std::string& name = "cuda") {
  const auto device = open_device(request(name));
  return device.ok() ? "" : device.status().message();
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

struct Rig {
  TemporaryFolder folder;
  std::unique_ptr<Engine> engine;
  DocumentInput document;

  explicit Rig(const std::string& device) {
    RandomModel model;
    const auto path = folder / "model.gguf";
    std::ofstream(path, std::ios::binary) << random_model_gguf(model);
    EngineOptions options;
    options.device = device;
    options.n_threads = 2;
    options.f32_kv = true;
    options.gpu = simt_options(LONGLEAF_SIMT_DRIVER);
    auto loaded = Engine::load(path, options);
    if (loaded.ok())
      engine = std::move(*loaded);
    else
      fail(__FILE__, __LINE__, loaded.status().message());
    document.id = "document";
    document.key = 1;
    document.title = "Pumps";
    document.nodes.push_back({1, 0, false, 0, ""});
    for (int i = 0; i < 3; ++i) {
      const auto leaf = static_cast<size_t>(i);
      document.nodes.push_back(
          {10 + i, 1, true, 30, std::string(40 + 7 * leaf, static_cast<char>('a' + i)) + " speaks of pumps.\n\n"});
    }
  }
  Result<AnswerResult> ask(Evidence evidence) {
    AnswerRequest question;
    question.question = "Which leaf?";
    question.leaves = {10, 12};
    question.evidence = evidence;
    question.max_tokens = 12;
    return engine->answer(document, folder / "memory", question, [](std::string_view) {}, nullptr, {});
  }
};

}  // namespace

TEST(without_a_driver_the_processor_computes_and_says_why) {
  DeviceRequest r;
  r.gpu.library = "/nowhere/libcuda.so.1";
  const auto device = open_device(r);
  REQUIRE_OK(device);
  CHECK(!device->is_gpu);
  CHECK_EQ(device->why_no_gpu,
           "No NVIDIA driver is installed (/nowhere/libcuda.so.1 is missing); install NVIDIA's driver to compute on an "
           "NVIDIA card");
  r.name = "cuda";
  const auto card = open_device(r);
  CHECK(!card.ok() && card.status().code() == Code::Unsupported && card.status().message() == device->why_no_gpu);
  r.name = "cpu";
  CHECK(open_device(r)->why_no_gpu.empty());
}

TEST(a_library_that_is_no_driver_is_told_from_a_driver) {
  DeviceRequest r;
  r.name = "cuda";
  r.gpu.library = "libm.so.6";
  const auto device = open_device(r);
  CHECK(!device.ok() && contains(device.status().message(), "too old (it lacks cuInit)"));
}

TEST(a_device_that_is_none_is_refused) {
  for (const char* name : {"", "gpu", "cuda:", "cuda0", "CPU"}) {
    const auto device = open_device(request(name));
    CHECK(!device.ok() && device.status().code() == Code::Invalid);
  }
}

TEST(what_a_card_or_its_driver_lacks_is_said_in_a_sentence) {
  Emulator emulator;
  CHECK_EQ(refusal(), "");
  emulator.settings.driver_version = 12020;
  CHECK_EQ(refusal(),
           "The NVIDIA driver is too old (for CUDA 12.2, 13.0 is needed); update it to use the card Emulated 0");
  emulator.settings = {};
  emulator.settings.compute = 61;
  CHECK_EQ(refusal(), "The card Emulated 0 is too old to be used (compute capability 6.1, 7.5 is needed)");
  emulator.settings = {};
  emulator.settings.cards = 0;
  CHECK(contains(refusal(), "finds no card"));
  emulator.settings = {};
  emulator.settings.init_code = 100;
  CHECK(contains(refusal(), "finds no card"));
  emulator.settings.init_code = 999;
  CHECK(contains(refusal(), "does not start (error 999)"));
}

TEST(a_build_without_kernels_says_so) {
  if (!kernels::cuda::embedded_images().empty()) return;
  DeviceRequest r = request("cuda");
  r.gpu.images = {};
  const auto device = open_device(r);
  CHECK(!device.ok() && contains(device.status().message(), "This build has no kernels for GPUs"));
}

TEST(cards_are_chosen_by_number_and_by_uuid) {
  Emulator emulator;
  emulator.settings.cards = 2;
  CHECK_EQ(open_device(request("cuda:1"))->backend->name, "Emulated 1, 16 GiB");
  CHECK_EQ(open_device(request("cuda:GPU-10111213-1415-1617-1819-1a1b1c1d1e1f"))->backend->name, "Emulated 1, 16 GiB");
  CHECK_EQ(open_device(request("cuda"))->backend->name, "Emulated 0, 16 GiB");
  CHECK_EQ(refusal("cuda:2"), "There is no NVIDIA card 2; longleaf-cli doctor names those that are there");
}

TEST(a_model_that_does_not_fit_on_the_card_is_left_to_the_processor) {
  Emulator emulator;
  emulator.settings.memory_bytes = size_t{100} << 20;
  DeviceRequest r = request("auto");
  r.needed_bytes = uint64_t{90} << 20;
  CHECK(open_device(r)->is_gpu);
  r.needed_bytes = uint64_t{110} << 20;
  const auto device = open_device(r);
  CHECK(!device->is_gpu);
  CHECK(contains(device->why_no_gpu, "needs 110 MiB and Emulated 0, 0 GiB has 100 MiB free"));
}

TEST(a_card_and_the_processor_give_the_same_answers) {
  Emulator emulator;
  Rig card("cuda"), processor("cpu");
  REQUIRE(card.engine != nullptr && processor.engine != nullptr);
  CHECK_EQ(card.engine->device(), "Emulated 0, 16 GiB");
  CHECK(card.engine->encode(card.document, card.folder / "memory", nullptr, {}).ok());
  CHECK(processor.engine->encode(processor.document, processor.folder / "memory", nullptr, {}).ok());
  for (Evidence evidence : {Evidence::Exact, Evidence::LeafKv}) {
    const auto here = card.ask(evidence), there = processor.ask(evidence);
    REQUIRE_OK(here);
    REQUIRE_OK(there);
    CHECK(!here->text.empty());
    CHECK_EQ(here->text, there->text);
  }
  CHECK(card.engine->memory_use().device_bytes > 0);
}

TEST(a_card_that_stops_ends_one_request_and_is_replaced_by_the_processor_the_second_time) {
  Emulator emulator;
  Rig rig("auto");
  REQUIRE(rig.engine != nullptr);
  const auto before = rig.ask(Evidence::Exact);
  REQUIRE_OK(before);
  for (int loss = 1; loss <= 2; ++loss) {
    CHECK(contains(rig.engine->device(), "Emulated"));
    emulator.settings.launches_to_loss = 40;
    const auto lost = rig.ask(Evidence::Exact);
    CHECK(!lost.ok() && lost.status().code() == Code::DeviceLost);
    CHECK(contains(lost.status().message(), "The GPU stopped while starting a kernel (CUDA_ERROR_LAUNCH_FAILED)"));
    const auto after = rig.ask(Evidence::Exact);
    REQUIRE_OK(after);
    CHECK_EQ(after->text, before->text);
  }
  CHECK(contains(rig.engine->device(), "CPU"));
  CHECK(contains(rig.engine->why_no_gpu(), "The GPU stopped 2 times"));
}

TEST(a_card_that_fails_while_a_model_is_loaded_is_stepped_down_from) {
  Emulator emulator;
  for (const bool lost : {true, false}) {
    emulator.settings = {};
    if (lost)
      emulator.settings.uploads_to_loss = 10;
    else
      emulator.settings.allocations_to_full = 10;
    Rig rig("auto");
    REQUIRE(rig.engine != nullptr);
    CHECK(contains(rig.engine->device(), "CPU"));
    CHECK(contains(rig.engine->why_no_gpu(), lost ? "The GPU stopped" : "not enough memory on the GPU"));
    CHECK(rig.ask(Evidence::Exact).ok());
  }
}

TEST(a_card_that_stops_between_questions_leaves_nothing_dangling) {
  Emulator emulator;
  Rig rig("auto");
  REQUIRE(rig.engine != nullptr);
  const auto folder = rig.folder / "memory";
  CHECK(rig.engine->encode(rig.document, folder, nullptr, {}).ok());
  emulator.settings.launches_to_loss = 5;
  CHECK(!rig.ask(Evidence::LeafKv).ok());
  const NodeMemory& memory = rig.engine->node_memory(rig.document, folder);
  const auto vector = rig.engine->question_vector("Which leaf?", memory, {});
  REQUIRE_OK(vector);
  CHECK(!vector->empty());
  CHECK_EQ(rig.engine->leaves_encoded(rig.document, folder), size_t{3});
}

TEST(a_card_that_is_full_leaves_the_question_to_the_processor) {
  Emulator emulator;
  Rig rig("auto"), named("cuda");
  REQUIRE(rig.engine != nullptr && named.engine != nullptr);
  emulator.settings.allocations_to_full = 0;
  const auto refused = named.ask(Evidence::Exact);  // what was asked for by name is not replaced
  CHECK(!refused.ok() && refused.status().code() == Code::NoMemory);
  emulator.settings.allocations_to_full = 0;
  const auto answer = rig.ask(Evidence::Exact);
  REQUIRE_OK(answer);
  CHECK(contains(rig.engine->device(), "CPU"));
  CHECK(contains(rig.engine->why_no_gpu(), "not enough memory on the GPU"));
}

TEST(auto_takes_the_first_card_with_room) {
  Emulator emulator;
  emulator.settings.cards = 2;
  emulator.settings.first_card_bytes = size_t{50} << 20;
  DeviceRequest r = request("auto");
  r.needed_bytes = uint64_t{90} << 20;
  const auto device = open_device(r);
  CHECK(device->is_gpu && contains(device->backend->name, "Emulated 1"));
}
