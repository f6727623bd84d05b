// Answers from HMT's recurrent memory: they are what training's own parts would say, and what is missing, damaged or of
// the other method is told.
#include <algorithm>

#include "engine/base/files.h"
#include "tests/support/memory_rig.h"
#include "tests/support/recurrent.h"

using namespace longleaf;
using namespace longleaf::test;
using train::RecurrentModel;

namespace {

constexpr const char* kQuestion = "Which leaf speaks of pumps?";

struct Asked {
  MemoryRig rig;
  TrainedAdapter trained;
  std::unique_ptr<Engine> engine;

  explicit Asked(const MemorySettings& settings) : trained(settings) {
    const auto path = rig.folder / "adapter.gguf";
    CHECK(save_adapter(path, trained.adapter()).ok());
    EngineOptions options;
    options.device = "cpu", options.n_threads = 2, options.kv = kernels::DType::F32, options.adapter = path;
    auto loaded = Engine::load(rig.folder / "model.gguf", options);
    CHECK(loaded.ok());
    if (loaded.ok()) engine = std::move(*loaded);
  }
  Result<AnswerResult> ask(const DocumentInput& d, Evidence evidence, AnswerRequest request = {}) const {
    request.question = kQuestion, request.evidence = evidence, request.max_tokens = 8;
    return engine->answer(d, rig.memory(), request, [](std::string_view) {}, nullptr, {});
  }
  // Without evidence.
  int prompt_tokens(const DocumentInput& d) const {
    const auto tokenizer = *Tokenizer::load(trained.file);
    const auto chat = ChatStyle::of(*trained.file);
    return static_cast<int>(prompt_prefix(*tokenizer, chat, d.title).size() +
                            encode_pieces(*tokenizer, document_prompt(chat, "", {}, kQuestion).after).size());
  }
  // What training's own parts say.
  std::string expected(const DocumentInput& d, const std::vector<int>& of_segments) {
    const auto tokenizer = *Tokenizer::load(trained.file);
    const auto chat = ChatStyle::of(*trained.file);
    std::vector<int64_t> keys;
    const MemorySettings& settings = trained.memory->weights().settings();
    const Segments text(text_tree(d, *tokenizer, 4096, keys), settings.segment_tokens);
    const bool is_empty = text.size() == 0;
    const auto all = is_empty ? std::vector<float>() : memories_of(trained, text);
    train::Tape& tape = trained.tape;
    tape.clear();
    auto memories = is_empty ? train::Var{} : tape.constant(static_cast<int>(text.size()), 32, all);
    if (!of_segments.empty()) memories = tape.gathered(memories, {of_segments.begin(), of_segments.end()});
    const auto words = tokenizer->encode(kQuestion);
    const std::span<const TokenId> asked[] = {words};
    const auto given =
        RecurrentModel(*trained.decoder, *trained.memory).given(tape, trained.memory->queries(tape, asked), memories);
    const auto front = prompt_prefix(*tokenizer, chat, d.title);
    const auto sensory = text.with_front(text.size(), settings.sensory_tokens);
    std::vector<TokenId> behind(sensory.begin(), sensory.end());
    const auto question = encode_pieces(*tokenizer, document_prompt(chat, "", {}, kQuestion).after);
    behind.insert(behind.end(), question.begin(), question.end());
    return trained.answer(front, given, std::move(behind), 8);
  }
};

}  // namespace

TEST(an_answer_from_what_a_question_recalls_is_the_one_that_training_gives) {
  for (const int sensory : {0, 6}) {
    Asked asked(recurrent(32, sensory));
    REQUIRE(asked.engine != nullptr);
    const auto d = document(9);
    CHECK(asked.engine->memory_kinds() == std::vector<Evidence>{Evidence::Hmt});
    REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
    const auto answer = asked.ask(d, Evidence::Hmt);
    REQUIRE_OK(answer);
    CHECK(!answer->text.empty());
    CHECK_EQ(answer->text, asked.expected(d, {}));
    CHECK_EQ(answer->stats.memory_tokens, 1);
    CHECK_EQ(answer->stats.evidence_tokens, 1 + sensory);
    const auto fixed = asked.prompt_tokens(d);
    CHECK_EQ(answer->stats.prefill_tokens, fixed + 1 + sensory);
    CHECK(!answer->leaves.empty() && !answer->reached.empty());

    // Led to one leaf, it recalls the segments of that leaf alone.
    AnswerRequest request;
    request.memory_routing = MemoryRouting::ToLeaves, request.leaves = {14};
    const auto led = asked.ask(d, Evidence::Hmt, request);
    REQUIRE_OK(led);
    const auto tokenizer = *Tokenizer::load(asked.trained.file);
    std::vector<int64_t> keys;
    const TextTree t = text_tree(d, *tokenizer, 4096, keys);
    const auto leaf = static_cast<int>(std::find(keys.begin(), keys.end(), 14) - keys.begin());
    CHECK_EQ(led->text, asked.expected(d, Segments(t, 32).of_node(leaf)));
    CHECK(std::find(led->leaves.begin(), led->leaves.end(), 14) != led->leaves.end());
    double share = 0;
    for (const ReachedNode& node : led->reached) share = std::max(share, node.share);
    for (const ReachedNode& node : answer->reached) CHECK(node.share < share);
  }
}

TEST(a_question_recalls_the_last_memories_as_a_segment_does) {
  Asked asked(recurrent(32, 0, 3));
  REQUIRE(asked.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
  const auto answer = asked.ask(d, Evidence::Hmt);
  REQUIRE_OK(answer);
  CHECK_EQ(answer->text, asked.expected(d, {}));
  for (const ReachedNode& node : answer->reached) CHECK(node.node >= 17 || node.node < 10 || node.node >= 1000);
  double sum = 0;
  for (const ReachedNode& node : answer->reached) sum = std::max(sum, node.share);
  CHECK(sum >= 1.0 / 3);
  AnswerRequest request;
  request.memory_routing = MemoryRouting::Random;
  const auto random = asked.ask(d, Evidence::Hmt, request);
  REQUIRE_OK(random);
  CHECK(std::abs(random->reached.front().share - 1) < 1e-6);  // one segment
}

TEST(the_text_in_front_of_a_question_is_evidence_too_and_gives_way_where_there_is_no_room) {
  Asked asked(recurrent(32, 200));
  REQUIRE(asked.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
  AnswerRequest request;
  request.memory_routing = MemoryRouting::ToLeaves, request.leaves = {10};
  const auto answer = asked.ask(d, Evidence::Hmt, request);
  REQUIRE_OK(answer);
  CHECK(std::find(answer->leaves.begin(), answer->leaves.end(), 18) != answer->leaves.end());  // the last
  const auto tokenizer = *Tokenizer::load(asked.trained.file);
  const int context = asked.trained.decoder->config().context_tokens;
  request.history = {{"A question. ", std::string(static_cast<size_t>(context) / 3, 'a')}};
  const auto later = asked.ask(d, Evidence::Hmt, request);
  REQUIRE_OK(later);
  CHECK(later->stats.prefill_tokens + 8 <= context);
  CHECK(later->stats.evidence_tokens >= 1);
}

TEST(damaged_memories_are_told_and_the_text_is_read_where_evidence_is_chosen_automatically) {
  Asked asked(recurrent(32, 4));
  REQUIRE(asked.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
  std::string bytes = bytes_of(asked.rig.memory_file());
  bytes[2 * 4096] ^= 1;
  REQUIRE_OK(write_file(asked.rig.memory_file(), bytes));
  const Status status = asked.ask(d, Evidence::Hmt).status();
  CHECK(status.code() == Code::Corrupt && status.message().find("encode it again") != std::string::npos);
  REQUIRE_OK(asked.ask(d, Evidence::Auto));
  REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
  REQUIRE_OK(asked.ask(d, Evidence::Hmt));
}

TEST(a_memory_of_the_other_method_says_what_to_choose) {
  const auto d = document(3);
  Asked recalls(recurrent(32, 6));
  REQUIRE(recalls.engine != nullptr);
  CHECK(recalls.ask(d, Evidence::Hmt).status().code() == Code::NotFound);
  REQUIRE_OK(recalls.engine->encode(d, recalls.rig.memory(), nullptr, {}, {.leaves = false}));
  const Status wrong = recalls.ask(d, Evidence::MemoryTokens).status();
  CHECK(wrong.code() == Code::Invalid && wrong.message().find("choose hmt") != std::string::npos);
  Asked routes(MemorySettings{});
  REQUIRE(routes.engine != nullptr);
  const Status other = routes.ask(d, Evidence::Hmt).status();
  CHECK(other.code() == Code::Invalid && other.message().find("choose memory_tokens") != std::string::npos);
  CHECK_EQ(routes.engine->memory_kinds().size(), size_t{2});
}

TEST(a_document_without_text_has_no_memory_to_recall) {
  Asked asked(recurrent(32, 6));
  REQUIRE(asked.engine != nullptr);
  auto d = document(3);
  for (DocumentNode& node : d.nodes) node.text.clear();
  REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
  const auto answer = asked.ask(d, Evidence::Hmt);
  REQUIRE_OK(answer);
  CHECK_EQ(answer->text, asked.expected(d, {}));
}
