// What an engine does on cards, when one is full, and when one stops. The GPU is the emulator's.
#include <filesystem>
#include <fstream>

#include "engine/engine.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"
#include "tests/support/simt/control.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/trained_adapter.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

struct Rig {
  TemporaryFolder folder;
  std::unique_ptr<Engine> engine;
  DocumentInput document;

  explicit Rig(const std::string& device, const AdapterContents* adapter = nullptr, const RandomModel& model = {},
               kernels::DType kv = kernels::DType::F32) {
    const auto path = folder / "model.gguf";
    std::ofstream(path, std::ios::binary) << random_model_gguf(model);
    EngineOptions options;
    if (adapter != nullptr) {
      options.adapter = folder / "adapter.gguf";
      CHECK(save_adapter(options.adapter, *adapter).ok());
    }
    options.device = device;
    options.n_threads = 2;
    options.kv = kv;
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
  // With `on_text`, more than a page of tokens, at a temperature.
  Result<AnswerResult> ask(Evidence evidence, const std::function<void(std::string_view)>& on_text = nullptr,
                           std::stop_token stop = {}) {
    AnswerRequest question;
    question.question = "Which leaf?";
    question.leaves = {10, 12};
    question.evidence = evidence;
    question.max_tokens = on_text ? 80 : 12;
    question.sampler.temperature = on_text ? 1.0f : 0.0f;
    return engine->answer(
        document, folder / "memory", question,
        [&](std::string_view text) {
          if (on_text) on_text(text);
        },
        nullptr, std::move(stop));
  }
};

void check_same_answer(Rig& a, Rig& b, Evidence evidence) {
  const auto here = a.ask(evidence), there = b.ask(evidence);
  REQUIRE_OK(here);
  REQUIRE_OK(there);
  CHECK(!here->text.empty());
  CHECK_EQ(here->text, there->text);
}

}  // namespace

TEST(a_card_and_the_processor_give_the_same_answers) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig card("cuda"), processor("cpu");
  REQUIRE(card.engine != nullptr && processor.engine != nullptr);
  CHECK_EQ(card.engine->device(), "Emulated 0, 16 GiB");
  CHECK(card.engine->encode(card.document, card.folder / "memory", nullptr, {}).ok());
  CHECK(processor.engine->encode(processor.document, processor.folder / "memory", nullptr, {}).ok());
  for (Evidence evidence : {Evidence::Exact, Evidence::LeafKv}) check_same_answer(card, processor, evidence);
  CHECK(card.engine->memory_use().device_bytes > 0);
}

// From the second token on that is computed in the same way, all layers are one launch.
TEST(tokens_are_computed_by_what_was_recorded) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig card("cuda"), processor("cpu");
  REQUIRE(card.engine != nullptr && processor.engine != nullptr);
  const auto answer = [](Rig& rig) {
    std::string said;
    CHECK(rig.ask(Evidence::Exact, [&](std::string_view text) { said += text; }).ok());
    return said;
  };
  const std::string expected = answer(processor);
  CHECK_EQ(answer(card), expected);  // over a page of tokens: the table of pages grows meanwhile
  CHECK(emulator.settings.replays > 40);
  emulator.settings.refuses_graphs = true;
  Rig refusing("cuda");
  emulator.settings.replays = 0;
  CHECK_EQ(answer(refusing), expected);
  CHECK_EQ(emulator.settings.replays, 0);
}

TEST(a_card_answers_from_learned_memories_as_the_processor_does) {
  const Emulator emulator(LONGLEAF_SIMT_DRIVER);
  const AdapterContents adapter = TrainedAdapter({.scales = true}).adapter();
  Rig card("cuda", &adapter), processor("cpu", &adapter);
  REQUIRE(card.engine != nullptr && processor.engine != nullptr);
  for (Rig* rig : {&card, &processor})
    REQUIRE_OK(rig->engine->encode(rig->document, rig->folder / "memory", nullptr, {}));
  check_same_answer(card, processor, Evidence::MemoryTokens);
  check_same_answer(card, processor, Evidence::MemoryAndLeafKv);
}

namespace {

// Memory of a card that has no room for the last of two layers; a sixteenth is kept free.
uint64_t too_little_by_half_a_layer() {
  const Rig rig("cuda");
  const ModelFacts& facts = rig.engine->facts();
  const uint64_t layer = facts.config.layer_bytes[0] + facts.needed_card.kv / 2;
  return (rig.engine->memory_use().stated_device_bytes - layer / 2) * 16 / 15;
}

}  // namespace

TEST(a_model_on_card_and_processor_gives_the_answers_of_one) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig processor("cpu");
  emulator.settings.memory_bytes = too_little_by_half_a_layer();
  Rig split("cuda");
  REQUIRE(processor.engine != nullptr && split.engine != nullptr);
  CHECK(contains(split.engine->device(), "Emulated 0, 0 GiB (1 layer) + CPU"));
  CHECK(contains(split.engine->device_note(), "1 of 2 layers run on the processor: the model needs"));
  for (Rig* rig : {&processor, &split})
    CHECK(rig->engine->encode(rig->document, rig->folder / "memory", nullptr, {}).ok());
  check_same_answer(split, processor, Evidence::LeafKv);
}

TEST(a_model_on_two_cards_gives_the_answers_of_one) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig processor("cpu");
  emulator.settings.memory_bytes = too_little_by_half_a_layer();
  emulator.settings.cards = 2;
  Rig cards("auto");
  REQUIRE(processor.engine != nullptr && cards.engine != nullptr);
  CHECK_EQ(cards.engine->device(), "Emulated 0, 0 GiB (1 layer) + Emulated 1, 0 GiB (1 layer)");
  CHECK(cards.engine->device_note().empty());
  check_same_answer(cards, processor, Evidence::Exact);
}

TEST(a_card_holds_what_was_stated_before_loading) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  emulator.settings.context_bytes = size_t{300} << 20;  // is no other program's
  RandomModel model;
  model.d_model = 64, model.heads = 2, model.kv_heads = 1;
  for (kernels::DType kv : {kernels::DType::F32, kernels::DType::F16, kernels::DType::Q8_0}) {
    emulator.settings.taken_bytes = 0;
    Rig rig("cuda", nullptr, model, kv);
    REQUIRE(rig.engine != nullptr);
    CHECK(rig.engine->encode(rig.document, rig.folder / "memory", nullptr, {}).ok());
    for (Evidence evidence : {Evidence::Exact, Evidence::LeafKv}) {
      CHECK(rig.ask(evidence).ok());
      CHECK(rig.ask(evidence, [](std::string_view) {}).ok());  // at a temperature, several pages
    }
    emulator.settings.taken_bytes = size_t{1} << 30;
    const MemoryUse use = rig.engine->memory_use();
    CHECK(use.device_bytes > 0 && use.peak_device_bytes >= use.device_bytes);
    CHECK(use.peak_device_bytes <= use.stated_device_bytes);
    // Besides keys that are not there: staging, and parts of an attention that no short text needs.
    const MemoryNeeds& needs = rig.engine->facts().needed_card;
    const uint64_t spare = use.stated_device_bytes - use.peak_device_bytes;
    std::printf("  stated %.2f MiB, taken %.2f MiB\n", static_cast<double>(use.stated_device_bytes) / 0x1p20,
                static_cast<double>(use.peak_device_bytes) / 0x1p20);
    CHECK(spare <= needs.kv + (uint64_t{2} << 20));
    CHECK_EQ(use.stated_device_bytes, needs.all());
    CHECK_EQ(use.other_device_bytes, uint64_t{1} << 30);
    CHECK_EQ(use.total_device_bytes, uint64_t{16} << 30);
  }
}

TEST(an_answer_that_fills_the_card_goes_on_on_the_processor) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig processor("cpu"), rig("auto");
  REQUIRE(processor.engine != nullptr && rig.engine != nullptr);
  std::string expected, said;
  REQUIRE_OK(processor.ask(Evidence::Exact, [&](std::string_view text) { expected += text; }));
  CHECK(expected.size() > 60);
  using Clock = std::chrono::steady_clock;
  Clock::time_point first, last;  // text of the card
  size_t of_card = 0;
  const auto answer = rig.ask(Evidence::Exact, [&](std::string_view text) {
    said += text;
    emulator.settings.taken_bytes = emulator.settings.memory_bytes;
    if (!contains(rig.engine->device(), "Emulated")) return;
    last = Clock::now();
    if (of_card == 0) first = last;
    of_card = said.size();
  });
  REQUIRE_OK(answer);
  CHECK_EQ(said, expected);
  CHECK_EQ(answer->text, expected);
  CHECK(of_card > 0 && of_card < said.size());
  CHECK(contains(rig.engine->device(), "CPU"));
  CHECK(contains(rig.engine->device_note(), "not enough memory on the GPU"));
  // The rate is of the whole answer, on both devices.
  const AnswerStats& stats = answer->stats;
  CHECK(stats.ttft_ms > 0);
  CHECK(stats.decode_tokens / stats.decode_tokens_per_s >= std::chrono::duration<double>(last - first).count());

  // Stopped while the processor reads what was said: it is not lost.
  emulator.settings = {};
  Rig again("auto");
  REQUIRE(again.engine != nullptr);
  std::stop_source stop;
  std::string begun;
  const auto stopped = again.ask(
      Evidence::Exact,
      [&](std::string_view text) {
        begun += text;
        emulator.settings.taken_bytes = emulator.settings.memory_bytes;
        if (begun.size() == of_card) stop.request_stop();
      },
      stop.get_token());
  REQUIRE_OK(stopped);
  CHECK(stopped->stopped);
  CHECK(contains(again.engine->device(), "CPU"));
  CHECK_EQ(begun.size(), of_card);
  CHECK_EQ(stopped->text, begun);
  CHECK(stopped->stats.ttft_ms > 0 && stopped->leaves == answer->leaves);
}

TEST(a_card_that_stops_ends_one_request_and_is_replaced_by_the_processor_the_second_time) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
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
  CHECK(contains(rig.engine->device_note(), "The GPU stopped 2 times"));
}

TEST(a_card_that_fails_while_a_model_is_loaded_is_stepped_down_from) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  for (const bool lost : {true, false}) {
    emulator.settings = {};
    if (lost)
      emulator.settings.uploads_to_loss = 10;
    else
      emulator.settings.allocations_to_full = 10;
    Rig rig("auto");
    REQUIRE(rig.engine != nullptr);
    // What was full for a moment is not the second time.
    CHECK(contains(rig.engine->device(), lost ? "CPU" : "Emulated"));
    CHECK(lost ? contains(rig.engine->device_note(), "The GPU stopped") : rig.engine->device_note().empty());
    CHECK(rig.ask(Evidence::Exact).ok());
  }
}

TEST(a_card_that_stops_between_questions_leaves_nothing_dangling) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig rig("auto");
  REQUIRE(rig.engine != nullptr);
  const auto folder = rig.folder / "memory";
  CHECK(rig.engine->encode(rig.document, folder, nullptr, {}).ok());
  emulator.settings.launches_to_loss = 5;
  CHECK(!rig.ask(Evidence::LeafKv).ok());
  const auto memory = rig.engine->node_memory(rig.document, folder);
  const auto vector = rig.engine->question_vector("Which leaf?", *memory, {});
  REQUIRE_OK(vector);
  CHECK(!vector->empty());
  // Nor does one that fills up while it reads the question.
  emulator.settings.allocations_to_full = 0;
  const auto again = rig.engine->question_vector("Which leaf?", *memory, {});
  REQUIRE_OK(again);
  CHECK_EQ(again->size(), vector->size());
  CHECK_EQ(rig.engine->encoded(rig.document, folder).leaves, size_t{3});
}

// As when another program takes what it needs: the card keeps what fits.
TEST(an_answer_that_fills_the_card_goes_on_with_fewer_layers_there) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig processor("cpu");
  std::string expected, said;
  REQUIRE_OK(processor.ask(Evidence::Exact, [&](std::string_view text) { expected += text; }));
  const uint64_t stated = Rig("cuda").engine->memory_use().stated_device_bytes;
  emulator.settings.memory_bytes = stated * 5 / 4;
  Rig rig("auto");
  REQUIRE(rig.engine != nullptr);
  const uint64_t layer = rig.engine->facts().config.layer_bytes[0];
  CHECK_EQ(rig.engine->device(), "Emulated 0, 0 GiB");
  const auto answer = rig.ask(Evidence::Exact, [&](std::string_view text) {
    if (said.empty()) {
      const uint64_t left = (stated - layer / 2) * 16 / 15;  // of which a sixteenth is kept free
      emulator.settings.taken_bytes = emulator.settings.memory_bytes - left;
      emulator.settings.allocations_to_full = 0;
    }
    said += text;
  });
  REQUIRE_OK(answer);
  CHECK_EQ(said, expected);
  CHECK(contains(rig.engine->device(), "Emulated 0, 0 GiB (1 layer) + CPU"));
  CHECK(contains(rig.engine->device_note(), "1 of 2 layers run on the processor"));
}

// The keys and values of a whole window are 4 MiB here, those of a question a quarter of it.
TEST(a_card_without_room_for_a_window_takes_the_model_with_room_for_a_question) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  const RandomModel model{.context = 32768};
  const auto stated = Rig("cuda", nullptr, model).engine->memory_use().stated_device_bytes;
  emulator.settings.memory_bytes = stated;  // of which a sixteenth is left free
  {
    Rig rig("auto", nullptr, model);
    REQUIRE(rig.engine != nullptr);
    CHECK_EQ(rig.engine->device(), "Emulated 0, 0 GiB");
    CHECK(rig.engine->memory_use().stated_device_bytes < emulator.settings.memory_bytes);
    CHECK(rig.ask(Evidence::Exact).ok());
  }
  // A card that was asked for by name does the same, and makes room for more when it is needed.
  Rig named("cuda", nullptr, model);
  REQUIRE(named.engine != nullptr);
  CHECK_EQ(named.engine->device(), "Emulated 0, 0 GiB");
  emulator.settings.allocations_to_full = 0;
  REQUIRE_OK(named.engine->encode(named.document, named.folder / "memory", nullptr, {}));
  CHECK(contains(named.engine->device(), "Emulated 0, 0 GiB (1 layer) + CPU"));
}

TEST(a_card_that_was_named_and_is_full_is_not_replaced_and_is_tried_again) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig named("cuda");
  REQUIRE(named.engine != nullptr);
  const auto before = named.ask(Evidence::Exact);
  REQUIRE_OK(before);
  named.engine->rest();
  emulator.settings.taken_bytes = emulator.settings.memory_bytes;
  for (int i = 0; i < 2; ++i) CHECK(named.ask(Evidence::Exact).status().code() == Code::NoMemory);
  emulator.settings.taken_bytes = 0;
  const auto after = named.ask(Evidence::Exact);
  REQUIRE_OK(after);
  CHECK_EQ(after->text, before->text);
  CHECK_EQ(named.engine->device(), "Emulated 0, 16 GiB");
}

TEST(a_card_that_was_full_for_a_moment_answers) {
  Emulator emulator(LONGLEAF_SIMT_DRIVER);
  Rig rig("auto"), named("cuda");
  REQUIRE(rig.engine != nullptr && named.engine != nullptr);
  emulator.settings.allocations_to_full = 0;
  const auto refused = named.ask(Evidence::Exact);  // what was asked for by name is not replaced
  CHECK(!refused.ok() && refused.status().code() == Code::NoMemory);
  emulator.settings.allocations_to_full = 0;
  const auto answer = rig.ask(Evidence::Exact);
  REQUIRE_OK(answer);
  CHECK_EQ(rig.engine->device(), "Emulated 0, 16 GiB");
}
