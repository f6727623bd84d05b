// HMT's recurrent memory: what the engine computes is what training computed, what is read again, what goes wrong, and
// that it can be learnt.
#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "engine/base/files.h"
#include "engine/generate/utf8_stream.h"
#include "engine/memory/learned_memory.h"
#include "engine/train/recurrent_trainer.h"
#include "engine/train/training_run.h"
#include "tests/support/memory_rig.h"
#include "tests/support/trained_adapter.h"

using namespace longleaf;
using namespace longleaf::test;
using train::RecurrentModel;

namespace {

// Sums of some hundred numbers of size one in F32, in two orders, through two layers for each of seven segments.
constexpr double kRounding = 1e-4;

MemorySettings recurrent(int segment, int sensory, int recalled = 300, bool scales = true) {
  MemorySettings settings;
  settings.d_routing = 16, settings.query_fraction = 0.5f, settings.scales = scales;
  settings.method = MemoryMethod::Recurrent;
  settings.segment_tokens = segment, settings.sensory_tokens = sensory, settings.recalled = recalled;
  return settings;
}

// Nodes without text, shorter than a segment, and longer than two.
TextTree tree() {
  TextTree t;
  for (const int length : {0, 5, 30, 1, 0, 47, 12}) {
    t.parents.push_back(t.parents.empty() ? -1 : 0);
    std::vector<TokenId> tokens;
    for (int i = 0; i < length; ++i) tokens.push_back(3 + (i * i * 7 + 31 * static_cast<int>(t.size())) % 250);
    t.tokens.push_back(std::move(tokens));
  }
  return t;
}

std::vector<float> memories_of(TrainedAdapter& trained, const Segments& text) {
  const RecurrentModel model(*trained.decoder, *trained.memory);
  std::vector<int> all;
  for (size_t i = 0; i < text.size(); ++i) all.push_back(static_cast<int>(i));
  trained.tape.clear();
  return trained.tape.read(model.read(trained.tape, {{&text, all}}, RecurrentModel::From::Recall, false).memories[0]);
}

struct Answers {
  TemporaryFolder folder;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<KvStore> store;
  std::unique_ptr<LearnedMemory> learned;

  explicit Answers(const TrainedAdapter& trained) {
    auto model = *Model::load(trained.file, *backend);
    store = std::make_unique<KvStore>(model->config(), *backend, kernels::DType::F32);
    transformer = std::move(*Transformer::create(std::move(model)));
    learned = std::move(*LearnedMemory::load(trained.adapter(), *transformer));
  }
  std::unique_ptr<MemoryFile> open(const TextTree& t, const std::string& id = "book") const {
    const std::vector<int64_t> keys(t.size(), 1);
    return std::move(*MemoryFile::open_or_create(learned->path_of(folder.path(), id), learned->plan(t, keys)));
  }
  Result<int64_t> encode(const TextTree& t, const std::string& id = "book", const KnownMemories& known = {},
                         const std::function<void(size_t)>& told = nullptr, std::stop_token stop = {}) const {
    const auto file = open(t, id);
    return learned->encode(t, *store, known, *file, told, std::move(stop));
  }
  LearnedMemory::Memories memories(const TextTree& t, const std::string& id = "book") const {
    const auto read = learned->read(t, *open(t, id));
    CHECK(read.ok());
    return read.ok() ? *read : LearnedMemory::Memories{};
  }
};

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double top = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) top = std::max(top, std::abs(double{a[i]} - double{b[i]}));
  return top;
}

}  // namespace

TEST(segments_are_the_text_in_reading_order) {
  const TextTree t = tree();
  const Segments text(t, 16);
  std::vector<TokenId> all, joined;
  for (const auto& tokens : t.tokens) all.insert(all.end(), tokens.begin(), tokens.end());
  CHECK_EQ(text.size(), size_t{6});  // of 95 tokens
  for (size_t i = 0; i < text.size(); ++i) joined.insert(joined.end(), text.segment(i).begin(), text.segment(i).end());
  CHECK(joined == all);
  CHECK_EQ(text.segment(5).size(), size_t{15});
  CHECK_EQ(text.summarized(0).size(), size_t{8});
  CHECK_EQ(text.summarized(5).size(), size_t{8});
  CHECK_EQ(text.with_front(0, 4).size(), size_t{16});
  CHECK_EQ(text.with_front(1, 4).front(), all[12]);
  CHECK_EQ(text.with_front(1, 20).size(), size_t{32});
  CHECK_EQ(text.with_front(6, 4).size(), size_t{4});
  CHECK_EQ(text.with_front(6, 4).back(), all.back());
  CHECK(text.of_node(0).empty() && text.of_node(4).empty());
  CHECK(text.of_node(1) == std::vector<int>{0});
  CHECK(text.of_node(2) == (std::vector<int>{0, 1, 2}));
  CHECK(text.of_node(6) == std::vector<int>{5});
  CHECK(text.last_nodes(12) == std::vector<int>{6});
  CHECK(text.last_nodes(13) == (std::vector<int>{5, 6}));
  CHECK(text.last_nodes(0).empty());
  CHECK_EQ(Segments(TextTree{{-1}, {{}}}, 16).size(), size_t{0});
}

TEST(the_engine_makes_the_memories_that_training_made) {
  for (const auto& settings : {recurrent(16, 0), recurrent(16, 5), recurrent(7, 9, 3), recurrent(16, 5, 300, false)}) {
    TrainedAdapter trained(settings);
    const Answers answers(trained);
    const TextTree t = tree();
    REQUIRE_OK(answers.encode(t));
    const auto expected = memories_of(trained, answers.learned->segments(t));
    const auto memories = answers.memories(t);
    CHECK(difference(memories.values, expected) < kRounding);

    const std::vector<TokenId> question(t.tokens[2].begin(), t.tokens[2].begin() + 9);
    trained.tape.clear();
    train::Tape& tape = trained.tape;
    const std::span<const TokenId> asked[] = {question};
    const auto values = tape.constant(static_cast<int>(expected.size() / 32), 32, expected);
    const auto summary = trained.memory->queries(tape, asked);
    auto scores = answers.learned->scores(question, memories, *answers.store, {});
    REQUIRE_OK(scores);
    CHECK(difference(*scores, tape.read(trained.memory->scores(tape, summary, values))) < kRounding);
    std::vector<float> shares;
    for (size_t i = 0; i + static_cast<size_t>(settings.recalled) < scores->size(); ++i) (*scores)[i] = -INFINITY;
    const auto recalled = answers.learned->recalled(memories, *scores, shares);
    REQUIRE_OK(recalled);
    const RecurrentModel model(*trained.decoder, *trained.memory);
    CHECK(difference(*recalled, tape.read(model.given(tape, summary, values))) < kRounding);
    double sum = 0;
    for (const float share : shares) sum += double{share};
    CHECK(std::abs(sum - 1) < 1e-5);
    const auto nothing = answers.learned->recalled({}, {}, shares);
    REQUIRE_OK(nothing);
    CHECK(difference(*nothing, tape.read(model.given(tape, summary, {}))) < 1e-6);
  }
}

// What stands in front of a segment, and what it recalls, is all that a memory can know of the text before it.
TEST(a_memory_knows_of_all_text_in_front_of_it_and_none_behind) {
  TrainedAdapter trained(recurrent(16, 0));
  TextTree t = tree();
  const auto before = memories_of(trained, Segments(t, 16));
  t.tokens[2][20] += 1;  // token 25, in the second half of segment 1, which no summary sees
  const auto after = memories_of(trained, Segments(t, 16));
  for (size_t i = 0; i < 6; ++i) {
    const auto row = [&](const std::vector<float>& rows) {
      return std::vector<float>(rows.begin() + static_cast<long>(32 * i),
                                rows.begin() + static_cast<long>(32 * i + 32));
    };
    CHECK((row(before) != row(after)) == (i >= 1));
  }
}

TEST(windows_that_are_read_side_by_side_do_not_see_each_other) {
  TrainedAdapter trained(recurrent(16, 5));
  const RecurrentModel model(*trained.decoder, *trained.memory);
  const TextTree t = tree();
  const Segments text(t, 16);
  train::Tape& tape = trained.tape;
  for (const auto from : {RecurrentModel::From::Recall, RecurrentModel::From::Last}) {
    tape.clear();
    const auto together = model.read(tape, {{&text, {0, 1, 2}}, {&text, {5}}, {&text, {1, 3, 4}}}, from, true);
    const auto alone = model.read(tape, {{&text, {1, 3, 4}}}, from, true);
    CHECK(difference(tape.read(together.memories[2]), tape.read(alone.memories[0])) < kRounding);
    CHECK_EQ(together.targets.size(), size_t{6 * 16 + 15});
    CHECK_EQ(tape.rows(together.rows), 6 * 16 + 15);
    CHECK(std::equal(alone.targets.begin(), alone.targets.begin() + 16, text.segment(1).begin()));
  }
}

TEST(a_segment_begins_with_the_last_memory_or_with_what_it_recalls_of_all) {
  TrainedAdapter trained(recurrent(16, 0));
  const RecurrentModel model(*trained.decoder, *trained.memory);
  const Segments text(tree(), 16);
  trained.tape.clear();
  const auto read = [&](RecurrentModel::From from) {
    return trained.tape.read(model.read(trained.tape, {{&text, {0, 1, 2}}}, from, false).memories[0]);
  };
  const auto last = read(RecurrentModel::From::Last), recalled = read(RecurrentModel::From::Recall);
  const auto same = [&](long i) {
    return std::equal(last.begin() + 32 * i, last.begin() + 32 * i + 32, recalled.begin() + 32 * i,
                      [](float a, float b) { return std::abs(a - b) < 1e-5f; });
  };
  CHECK(same(0) && same(1));  // of one memory there is nothing else to recall
  CHECK(!same(2));
}

TEST(an_edited_text_is_read_again_from_there_on) {
  TrainedAdapter trained(recurrent(16, 5));
  const Answers answers(trained);
  TextTree t = tree();
  CHECK_EQ(*answers.encode(t), int64_t{95});
  t.tokens[2][20] += 1;  // in segment 1 of six
  const auto known = answers.learned->known(t, answers.folder.path());
  CHECK_EQ(known.size(), size_t{1});
  CHECK_EQ(*answers.encode(t, "book", known), int64_t{95 - 16});
  CHECK_EQ(*answers.encode(t, "anew"), int64_t{95});
  CHECK(difference(answers.memories(t).values, answers.memories(t, "anew").values) < kRounding);
}

TEST(a_making_that_was_stopped_goes_on) {
  TrainedAdapter trained(recurrent(16, 5));
  const Answers answers(trained);
  const TextTree t = tree();
  std::stop_source stop;
  int told = 0;
  const auto part = answers.encode(
      t, "book", {},
      [&](size_t) {
        if (++told == 3) stop.request_stop();
      },
      stop.get_token());
  CHECK(part.status().code() == Code::Cancelled);
  CHECK_EQ(answers.open(t)->count_done(), size_t{3});
  CHECK_EQ(*answers.encode(t), int64_t{95 - 3 * 16});
  REQUIRE_OK(answers.encode(t, "whole"));
  CHECK(difference(answers.memories(t).values, answers.memories(t, "whole").values) < kRounding);
}

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
    options.device = "cpu", options.n_threads = 2, options.f32_kv = true, options.adapter = path;
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
    Utf8Stream stream;
    std::string answer;
    for (int i = 0; i < 8; ++i) {
      const train::Var parts[] = {trained.decoder->embed(tape, front), given, trained.decoder->embed(tape, behind)};
      train::Batch batch;
      batch.add(static_cast<int>(front.size() + 1 + behind.size()));
      const auto hidden = trained.decoder->run(tape, tape.stacked(parts), batch);
      const int32_t none[] = {0};
      const TokenId next =
          trained.decoder->guess(tape, tape.gathered(hidden, {batch.n_tokens() - 1}), none).tokens.front();
      if (tokenizer->ends_answer(next)) break;
      answer += stream.push(tokenizer->decode(next));
      behind.push_back(next);
    }
    answer += stream.finish();
    return answer.substr(std::min(answer.find_first_not_of(" \n\t"), answer.size()));
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
  bytes[2 * 4096 + 3 * 4096] ^= 1;
  REQUIRE_OK(write_file(asked.rig.memory_file(), bytes));
  const Status status = asked.ask(d, Evidence::Hmt).status();
  CHECK(status.code() == Code::Corrupt && status.message().find("encode it again") != std::string::npos);
  REQUIRE_OK(asked.ask(d, Evidence::Auto));
  REQUIRE_OK(asked.engine->encode(d, asked.rig.memory(), nullptr, {}, {.leaves = false}));
  REQUIRE_OK(asked.ask(d, Evidence::Hmt));
}

TEST(an_adapter_whose_segments_the_model_cannot_read_is_refused) {
  TrainedAdapter trained(recurrent(32, 6));
  AdapterContents adapter = trained.adapter();
  adapter.memory.segment_tokens = 1 << 20;
  const auto backend = kernels::make_cpu_backend();
  const auto transformer = std::move(*Transformer::create(*Model::load(trained.file, *backend)));
  const Status status = LearnedMemory::load(adapter, *transformer).status();
  CHECK(status.code() == Code::Corrupt && status.message().find("longer than the model") != std::string::npos);
  const TemporaryFolder folder;
  for (const int wrong : {0, -1, (1 << 20) + 1}) {
    adapter.memory.segment_tokens = wrong;
    REQUIRE_OK(save_adapter(folder / "a.gguf", adapter));
    CHECK(load_adapter(folder / "a.gguf", *trained.file, adapter.model_fingerprint).status().code() == Code::Corrupt);
  }
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

namespace {

// Texts in one-token words: pairs “key value”, a segment each; a question is a key, its answer the value.
struct Toy {
  std::vector<train::TrainingDocument> documents;
  std::vector<train::TrainingQuestion> questions;

  Toy(int n_documents, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (size_t d = 0; d < static_cast<size_t>(n_documents); ++d) {
      TextTree& tree = documents.emplace_back().tree;
      tree.parents = {-1}, tree.tokens = {{}};
      std::set<TokenId> keys;
      while (keys.size() < 4) keys.insert(10 + static_cast<TokenId>(random() % 24));
      for (const TokenId key : keys) {
        const TokenId value = 60 + static_cast<TokenId>(random() % 24);
        const auto leaf = static_cast<int>(tree.size());
        tree.parents.push_back(0), tree.tokens.push_back({key, value});
        questions.push_back({d, {key}, {5, key, 6}, {value}, {leaf}});
      }
    }
  }
};

}  // namespace

namespace {

struct Trained {
  std::string gguf;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  train::Parameters parameters{*backend};
  std::unique_ptr<train::Decoder> decoder;
  std::unique_ptr<train::MemoryModel> memory;
  std::unique_ptr<train::RecurrentTrainer> trainer;

  Trained(int sensory, const train::MemoryTrainingSettings& steps) {
    RandomModel shape;
    shape.kv_heads = 4;
    gguf = random_model_gguf(shape);
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
    const train::DecoderSettings all{.all_weights = true, .keeps_layers = true, .lora = {}};
    decoder = std::move(*train::Decoder::create(*file, *backend, parameters, all));
    auto settings = recurrent(2, sensory);
    settings.d_routing = 32, settings.query_fraction = 1;
    memory = std::move(*train::MemoryModel::create(*decoder, parameters, settings));
    trainer = std::make_unique<train::RecurrentTrainer>(*decoder, *memory, parameters, *backend, steps);
  }
};

}  // namespace

TEST(a_step_reads_a_segment_and_a_question_behind_the_text_in_front_of_it) {
  Trained trained(3, {});
  const Toy toy(1, 1);
  const auto report = trained.trainer->step(toy.documents, toy.questions);
  REQUIRE_OK(report);
  // Questions, summaries of all segments but the first, segments, prompts.
  CHECK_EQ(report->tokens, 4 * 3 + 3 * 3 + (4 * 4 + 0 + 2 + 3 + 3) + 4 * (1 + 3 + 3));
}

TEST(a_step_reads_no_more_segments_than_it_may) {
  train::MemoryTrainingSettings steps;
  steps.most_segments = 2, steps.questions_per_step = 4;
  Trained trained(0, steps);
  Toy toy(1, 1);
  for (auto& question : toy.questions) question.gold = {1, 2, 3, 4};
  const auto report = trained.trainer->step(toy.documents, toy.questions);
  REQUIRE_OK(report);
  CHECK_EQ(report->tokens, 1 * 3 + 1 * 3 + 2 * 4 + 1 * 4);  // a question, and two of its four segments
  CHECK(report->route_loss == 0);                           // there is nothing else to recall
}

TEST(a_memory_is_learnt_that_recalls_the_segment_and_tells_what_stands_in_it) {
  train::MemoryTrainingSettings steps;
  steps.optimizer.rate = 3e-3f, steps.optimizer.warm_up_steps = 30, steps.optimizer.total_steps = 500;
  steps.optimizer.decay = 0;
  Trained trained(0, steps);
  train::RecurrentTrainer& trainer = *trained.trainer;
  for (int step = 1; step <= 500; ++step) {
    const Toy toy(1, static_cast<uint64_t>(step));
    const auto report = trainer.step(toy.documents, toy.questions);
    REQUIRE_OK(report);
    CHECK(std::abs(report->loss - report->answer_loss - report->route_loss) < 1e-6 * (1 + report->loss));
  }
  const Toy unseen(30, 1'000'000);
  using Routing = train::Trainer::Routing;
  const auto learned = trainer.score(unseen.documents, unseen.questions);
  const auto gold = trainer.score(unseen.documents, unseen.questions, Routing::Gold);
  const auto random = trainer.score(unseen.documents, unseen.questions, Routing::Random);
  REQUIRE(learned.ok() && gold.ok() && random.ok());
  std::printf("  right: %.2f learned, %.2f gold, %.2f random; of the gold segment %.2f\n", learned->right, gold->right,
              random->right, learned->gold_leaves_survive);
  CHECK_EQ(learned->questions, size_t{120});
  CHECK_EQ(learned->memory_tokens, 1.0);
  CHECK(gold->right > 0.8);
  CHECK(learned->right > 0.6 && learned->gold_leaves_survive > 0.6);  // by chance 1/24 and 1/4
  CHECK(random->right < 0.5);
}

TEST(a_training_run_of_it_goes_on_to_the_bits_of_one_that_was_not_stopped) {
  const auto run = [](const TemporaryFolder& folder, int64_t until) -> Status {
    train::TrainingInput input;
    DocumentInput d{"id", 1, "Pumps", {{1, 0, false, 0, ""}}};
    for (int64_t i = 0; i < 12; ++i) {
      d.nodes.push_back({2 + i, 1, true, 9, "Pump " + std::to_string(i) + " gives " + std::to_string(7 * i) + " l.\n"});
      input.questions.push_back({0, "What gives pump " + std::to_string(i) + "?", std::to_string(7 * i), {2 + i}});
    }
    input.documents.push_back(d);
    train::TrainingOptions options;
    options.model = folder / "m.gguf", options.out = folder / "a.gguf";
    options.lora.rank = 2;
    options.memory = recurrent(24, 4);
    options.steps.optimizer.total_steps = 12, options.steps.corpus_steps = 7;
    options.steps.tokens_per_corpus_step = 100, options.steps.most_segments = 3, options.steps.questions_per_step = 2;
    options.held_out = 0.25, options.score_every = 4;
    LL_ASSIGN_OR_RETURN(const auto training, train::TrainingRun::prepare(options, input));
    std::stop_source stop;
    int64_t most = 0, n_steps = 0;  // most: that a step computed
    LL_ASSIGN_OR_RETURN(const auto result, training->run(
                                               [&](const train::TrainingProgress& p) {
                                                 most = std::max(most, p.step.tokens), ++n_steps;
                                                 if (p.step.step == until) stop.request_stop();
                                               },
                                               stop.get_token()));
    CHECK_EQ(result.stopped, until > 0);
    CHECK(result.peak_bytes <= training->plan().bytes);
    CHECK(most <= training->plan().step_tokens);
    CHECK(n_steps < 12 || 2 * most > training->plan().step_tokens);
    return {};
  };
  TemporaryFolder whole, stopped;
  for (const auto* folder : {&whole, &stopped})
    REQUIRE_OK(write_file(*folder / "m.gguf", random_model_gguf(RandomModel{})));
  REQUIRE_OK(run(whole, 0));
  for (const int64_t until : {5, 9, 0}) REQUIRE_OK(run(stopped, until));  // among texts, and among questions
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"})
    CHECK(bytes_of(whole / name) == bytes_of(stopped / name));
  const auto model = ModelFile::open(whole / "m.gguf");
  REQUIRE_OK(model);
  const auto adapter = load_adapter(whole / "a.gguf", **model, fingerprint_of(**model));
  REQUIRE_OK(adapter);
  CHECK(adapter->memory.method == MemoryMethod::Recurrent);
  CHECK(adapter->memory.segment_tokens == 24 && adapter->memory.sensory_tokens == 4 && adapter->memory.recalled == 300);
}
