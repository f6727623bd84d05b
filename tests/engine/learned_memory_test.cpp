// The learned memory in the engine that answers: what it computes is what training computed, and what happens to files
// and adapters that do not fit.
#include "engine/memory/learned_memory.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "engine/base/files.h"
#include "engine/generate/utf8_stream.h"
#include "tests/support/memory_rig.h"
#include "tests/support/trained_adapter.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

// Sums of up to 700 numbers of size one (keys of the longest text) in F32, in two orders: 700 roundings of 6e-8, and
// twice that behind the second layer.
constexpr double kRounding = 1e-4;
constexpr Aggregation kAll[] = {Aggregation::Mean, Aggregation::SelfWeights, Aggregation::CrossAttention,
                                Aggregation::Graph, Aggregation::ParentToken};

// Levels of unequal depth, nodes without text above and below, a text longer than a batch of the processor's.
TextTree tree() {
  TextTree t;
  const auto node = [&](int parent, int length) {
    t.parents.push_back(parent);
    std::vector<TokenId> tokens;
    for (int i = 0; i < length; ++i) tokens.push_back(3 + (i * i * 7 + 31 * static_cast<int>(t.size())) % 250);
    t.tokens.push_back(std::move(tokens));
  };
  node(-1, 0);
  node(0, 12), node(1, 30), node(1, 1), node(1, 700);
  node(0, 0), node(5, 25), node(5, 9), node(7, 40), node(7, 0);
  node(0, 17);
  return t;
}

std::vector<int64_t> keys(const TextTree& t) {
  std::vector<int64_t> all;
  for (size_t i = 0; i < t.size(); ++i) all.push_back(100 + static_cast<int64_t>(i));
  return all;
}

// The same memory in the engine.
struct Answers {
  TemporaryFolder folder;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<KvStore> store;
  std::unique_ptr<LearnedMemory> learned;

  explicit Answers(const TrainedAdapter& trained) : Answers(trained, trained.adapter()) {}
  Answers(const TrainedAdapter& trained, const AdapterContents& adapter) {
    auto model = *Model::load(trained.file, *backend);
    store = std::make_unique<KvStore>(model->config(), *backend, kernels::DType::F32);
    transformer = std::move(*Transformer::create(std::move(model)));
    learned = std::move(*LearnedMemory::load(adapter, *transformer));
  }

  std::filesystem::path path(const std::string& id = "book") const { return learned->path_of(folder.path(), id); }
  std::unique_ptr<MemoryFile> open(const TextTree& t, const std::string& id = "book") const {
    return std::move(*MemoryFile::open_or_create(path(id), learned->plan(t, keys(t))));
  }
  int64_t encode(const TextTree& t, const KnownMemories& known = {}, const std::string& id = "book") const {
    const auto file = open(t, id);
    const auto tokens = learned->encode(t, *store, known, *file, nullptr, {});
    CHECK(tokens.ok());
    return tokens.ok() ? *tokens : -1;
  }
  LearnedMemory::Nodes nodes(const TextTree& t, const std::string& id = "book") const {
    auto file = MemoryFile::open(path(id), learned->plan(t, keys(t)));
    CHECK(file.ok() && (*file)->count_done() == t.size());
    return file.ok() ? *learned->read(t, **file) : LearnedMemory::Nodes{};
  }
};

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double top = a.size() == b.size() ? 0 : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) top = std::max(top, std::abs(double{a[i]} - double{b[i]}));
  return top;
}

std::vector<float> row(const std::vector<float>& rows, size_t i) {
  const auto first = rows.begin() + static_cast<long>(i * 32);
  return {first, first + 32};
}

}  // namespace

// Two implementations in F32 of some thirty layers of sums (eleven levels of reading at most two layers deep), states
// of size one: rounding is some 1e-6 per layer and grows by the condition of the layers above.
TEST(the_engine_makes_the_memories_that_training_made) {
  for (const Aggregation aggregation : kAll) {
    for (const bool scales : {false, true}) {
      TrainedAdapter trained({.aggregation = aggregation, .d_routing = 16, .query_fraction = 0.5f, .scales = scales});
      const Answers answers(trained);
      const TextTree t = tree();
      answers.encode(t);
      const auto nodes = answers.nodes(t);
      const auto expected = trained.memories(t);
      REQUIRE(nodes.memories.size() == expected.size());
      CHECK(difference(nodes.memories, expected) < kRounding);

      const std::vector<TokenId> question(t.tokens[1].begin(), t.tokens[1].begin() + 7);
      trained.tape.clear();
      const std::span<const TokenId> asked[] = {question};
      const auto memories = trained.tape.constant(static_cast<int>(t.size()), 32, expected);
      const auto scores = trained.tape.read(
          trained.memory->scores(trained.tape, trained.memory->queries(trained.tape, asked), memories));
      const auto engine = answers.learned->scores(question, nodes, *answers.store, {});
      REQUIRE_OK(engine);
      CHECK(difference(*engine, scores) < kRounding);

      const int some[] = {0, 4, 9};
      const auto entered = answers.learned->entered(nodes, some);
      REQUIRE_OK(entered);
      trained.tape.clear();
      const auto again = trained.tape.constant(static_cast<int>(t.size()), 32, nodes.memories);
      CHECK(difference(*entered, trained.tape.read(trained.tape.gathered(
                                     trained.memory->weights().entered(trained.tape, again), {0, 4, 9}))) < 1e-6);
    }
  }
}

// Windows, caps, scales of embeddings and residuals, experts with additions of their own.
TEST(models_of_every_kind_make_the_memories_that_training_made) {
  for (const char* model :
       {"mistral.gguf", "gemma2.gguf", "gemma3.gguf", "granite.gguf", "qwen3moe.gguf", "olmo2.gguf"}) {
    TrainedAdapter trained({.d_routing = 16}, model);
    const Answers answers(trained);
    TextTree t = tree();
    for (auto& text : t.tokens)
      for (TokenId& token : text) token %= trained.decoder->config().n_vocab;
    answers.encode(t);
    const double off = difference(answers.nodes(t).memories, trained.memories(t));
    std::printf("  %s: %.2g of %.2g allowed\n", model, off, kRounding);
    CHECK(off < kRounding);
  }
}

TEST(texts_that_are_read_together_do_not_see_each_other) {
  TrainedAdapter trained({});
  const Answers answers(trained);
  TextTree together = tree();
  answers.encode(together);
  const auto all = answers.nodes(together).memories;
  for (const size_t leaf : {2u, 3u, 4u, 6u, 10u}) {  // each alone below a root
    TextTree alone;
    alone.parents = {-1, 0};
    alone.tokens = {{}, together.tokens[leaf]};
    answers.encode(alone, {}, "alone");
    const auto one = answers.nodes(alone, "alone").memories;
    CHECK(difference({one.begin() + 32, one.end()}, row(all, leaf)) < kRounding);
  }
}

TEST(every_text_of_a_batch_begins_at_position_0) {
  const auto backend = kernels::make_cpu_backend();
  TrainedAdapter trained({});
  KvStore store(trained.decoder->config(), *backend, kernels::DType::F32);
  const int lengths[] = {3, 1, 4};
  const SeparateTexts texts(lengths, nullptr);
  std::vector<int32_t> positions(2);
  texts.positions(store, positions);
  CHECK((positions == std::vector<int32_t>{0, 1}));
  REQUIRE_OK(store.append(positions));
  positions.resize(6);
  texts.positions(store, positions);
  CHECK((positions == std::vector<int32_t>{2, 0, 0, 1, 2, 3}));
  const auto blocks = texts.blocks({2, 6});
  REQUIRE(blocks.size() == 3);
  CHECK(blocks[0].first_key == 2 && blocks[0].n_tokens == 1 && blocks[2].first_key == 4 && blocks[2].n_tokens == 4);
}

TEST(an_edited_leaf_costs_its_own_memory_and_those_above_it) {
  TrainedAdapter trained({.aggregation = Aggregation::Graph});
  const Answers answers(trained);
  TextTree t = tree();
  const int64_t whole = answers.encode(t);
  int64_t tokens = 0;
  for (const auto& text : t.tokens) tokens += static_cast<int64_t>(text.size());
  CHECK_EQ(whole, tokens);
  const auto before = answers.nodes(t);

  t.tokens[3] = {40, 41, 42};
  const auto known = answers.learned->known(t, answers.folder.path());
  CHECK_EQ(answers.encode(t, known), int64_t{3 + 12});  // the leaf, and its parent's text; the root has none
  const auto after = answers.nodes(t);
  for (size_t node = 0; node < t.size(); ++node) {
    const bool is_above = node == 0 || node == 1 || node == 3;
    CHECK((row(before.memories, node) != row(after.memories, node)) == is_above);
  }
  answers.encode(t, {}, "anew");
  CHECK(difference(answers.nodes(t, "anew").memories, after.memories) < kRounding);
}

TEST(a_memory_of_another_adapter_is_not_taken) {
  TrainedAdapter trained({});
  const Answers answers(trained);
  const TextTree t = tree();
  answers.encode(t);
  AdapterContents other = trained.adapter();
  other.tensors[0].values[0] += 1;
  const Answers others(trained, other);
  CHECK(others.learned->fingerprint() != answers.learned->fingerprint());
  CHECK(others.learned->known(t, answers.folder.path()).empty());
  CHECK(others.learned->plan(t, keys(t)).key != answers.learned->plan(t, keys(t)).key);
}

TEST(a_making_that_was_stopped_goes_on) {
  TrainedAdapter trained({});
  const Answers answers(trained);
  const TextTree t = tree();
  answers.encode(t, {}, "whole");
  std::stop_source stop;
  int told = 0;
  {
    const auto file = answers.open(t);
    const auto status = answers.learned->encode(
        t, *answers.store, {}, *file,
        [&](size_t) {
          if (++told == 3) stop.request_stop();
        },
        stop.get_token());
    CHECK(status.status().code() == Code::Cancelled);
    CHECK(file->count_done() >= 3 && file->count_done() < t.size());
  }
  const int64_t rest = answers.encode(t);
  CHECK(rest > 0 && rest < answers.encode(t, {}, "again"));
  CHECK(difference(answers.nodes(t).memories, answers.nodes(t, "whole").memories) < kRounding);
  CHECK_EQ(answers.encode(t), int64_t{0});
}

TEST(damaged_memories_are_made_again) {
  TrainedAdapter trained({});
  const Answers answers(trained);
  const TextTree t = tree();
  answers.encode(t);
  const std::string whole = bytes_of(answers.path());
  const auto before = answers.nodes(t).memories;
  std::string damaged = whole;
  damaged[2 * 4096 + 6 * 4096 + 8] ^= 1;  // in a leaf's vector, behind header and table
  REQUIRE_OK(write_file(answers.path(), damaged));
  CHECK_EQ(answers.learned->known(t, answers.folder.path()).size(), t.size() - 1);
  answers.encode(t);
  CHECK(difference(answers.nodes(t).memories, before) < kRounding);
  REQUIRE_OK(write_file(answers.path(), whole.substr(0, whole.size() / 2)));
  CHECK(answers.learned->known(t, answers.folder.path()).size() < t.size());
  answers.encode(t);
  CHECK(difference(answers.nodes(t).memories, before) < kRounding);
}

TEST(an_adapter_that_does_not_fit_is_refused_with_what_is_wrong) {
  TrainedAdapter trained({});
  const auto refused = [&](const std::function<void(AdapterContents&)>& spoil) {
    AdapterContents adapter = trained.adapter();
    spoil(adapter);
    auto backend = kernels::make_cpu_backend();
    auto transformer = std::move(*Transformer::create(*Model::load(trained.file, *backend)));
    const auto status = LearnedMemory::load(adapter, *transformer).status();
    CHECK(status.code() == Code::Corrupt);
    return status.message();
  };
  const auto named = [](AdapterContents& a, const std::string& name) {
    return std::find_if(a.tensors.begin(), a.tensors.end(), [&](const auto& t) { return t.name == name; });
  };
  const auto says = [](const std::string& message, const char* what) {
    return message.find(what) != std::string::npos;
  };
  CHECK(says(refused([&](auto& a) { a.tensors.erase(named(a, "h2mt.e_read")); }), "missing"));
  CHECK(says(refused([&](auto& a) { a.memory.d_routing = 65536; }), "h2mt.w_k"));
  CHECK(says(refused([&](auto& a) { a.tensors.push_back({"token_embd.weight", 1, 1, {1}}); }), "token_embd"));
  CHECK(says(refused([&](auto& a) { named(a, "h2mt.w_q")->rows = 31; }), "h2mt.w_q"));
  CHECK(says(refused([&](auto& a) { named(a, "h2mt.w_q")->name = "h2mt.w_x"; }), "h2mt.w_x"));
  CHECK(says(refused([&](auto& a) { a.tensors.erase(named(a, "blk.0.attn_q.weight.lora_b")); }), "blk.0.attn_q"));
  CHECK(says(refused([&](auto& a) { named(a, "blk.1.ffn_up.weight.lora_a")->cols = 33; }), "blk.1.ffn_up"));
  CHECK(says(refused([&](auto& a) { named(a, "blk.1.ffn_up.weight.lora_a")->name = "blk.2.ffn_up.weight.lora_a"; }),
             "blk.1.ffn_up"));
  CHECK(says(refused([&](auto& a) {
               a.tensors.push_back({"blk.9.ffn_up.weight.lora_a", 3, 32, std::vector<float>(96)});
             }),
             "blk.9.ffn_up"));
}

namespace {

// An engine that answers with an adapter, and what training says to the same.
struct Both {
  MemoryRig rig;
  TrainedAdapter trained;
  std::unique_ptr<Engine> engine;

  explicit Both(const MemorySettings& settings = {}, const RandomModel& model = {})
      : rig(model), trained(settings, model) {
    const auto path = rig.folder / "adapter.gguf";
    CHECK(save_adapter(path, trained.adapter()).ok());
    auto loaded = Engine::load(rig.folder / "model.gguf", options(path));
    if (loaded.ok())
      engine = std::move(*loaded);
    else
      fail(__FILE__, __LINE__, loaded.status().message());
  }
  static EngineOptions options(const std::filesystem::path& adapter) {
    EngineOptions options;
    options.device = "cpu";
    options.n_threads = 2;
    options.f32_kv = true;
    options.adapter = adapter;
    return options;
  }
  Result<AnswerResult> ask(const DocumentInput& d, Evidence evidence, const DescentOptions& descent = {},
                           int evidence_tokens = 3072, AnswerRequest request = {}) const {
    request.question = kQuestion;
    request.evidence = evidence;
    request.max_tokens = 8;
    request.evidence_tokens = evidence_tokens;
    request.descent = descent;
    return engine->answer(d, rig.memory(), request, [](std::string_view) {}, nullptr, {});
  }

  // Nodes and text that training's own parts give.
  std::pair<std::vector<int64_t>, std::string> expected(const DocumentInput& d, const DescentOptions& descent) {
    const auto tokenizer = *Tokenizer::load(trained.file);
    const auto chat = ChatStyle::of(*trained.file);
    std::vector<int64_t> keys, reached;
    const TextTree t = text_tree(d, *tokenizer, 4096, keys);
    train::Tape& tape = trained.tape;
    tape.clear();
    const auto memories = trained.memory->build(tape, t);
    const auto words = tokenizer->encode(kQuestion);
    const std::span<const TokenId> asked[] = {words};
    const auto scores = tape.read(trained.memory->scores(tape, trained.memory->queries(tape, asked), memories));
    const auto nodes = descend(t.parents, scores, descent);
    for (const int node : nodes) reached.push_back(keys[static_cast<size_t>(node)]);
    const auto rows = tape.gathered(trained.memory->weights().entered(tape, memories), {nodes.begin(), nodes.end()});
    const auto front = prompt_prefix(*tokenizer, chat, d.title);
    auto behind = encode_pieces(*tokenizer, document_prompt(chat, "", {}, kQuestion).after);
    Utf8Stream stream;
    std::string text;
    for (int i = 0; i < 8; ++i) {
      const train::Var parts[] = {trained.decoder->embed(tape, front), rows, trained.decoder->embed(tape, behind)};
      train::Batch batch;
      batch.add(static_cast<int>(front.size() + nodes.size() + behind.size()));
      const auto hidden = trained.decoder->run(tape, tape.stacked(parts), batch);
      const int32_t none[] = {0};
      const TokenId next =
          trained.decoder->guess(tape, tape.gathered(hidden, {batch.n_tokens() - 1}), none).tokens.front();
      if (tokenizer->ends_answer(next)) break;
      text += stream.push(tokenizer->decode(next));
      behind.push_back(next);
    }
    return {reached, text + stream.finish()};
  }
  static constexpr const char* kQuestion = "Which leaf speaks of pumps?";
};

}  // namespace

TEST(an_answer_from_memory_tokens_is_the_one_that_training_gives) {
  for (const bool scales : {true, false}) {
    Both both({.aggregation = Aggregation::Graph, .scales = scales});
    REQUIRE(both.engine != nullptr);
    const auto d = document(9);
    REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
    for (const int children : {1, 2, 9}) {
      const DescentOptions descent{.children = children};
      const auto answer = both.ask(d, Evidence::MemoryTokens, descent);
      REQUIRE_OK(answer);
      const auto [reached, text] = both.expected(d, descent);
      std::vector<int64_t> nodes;
      for (const ReachedNode& node : answer->reached) nodes.push_back(node.node);
      CHECK(nodes == reached);
      CHECK(!text.empty());
      CHECK_EQ(answer->text, text.substr(std::min(text.find_first_not_of(" \n\t"), text.size())));
      CHECK_EQ(answer->stats.memory_tokens, static_cast<int>(reached.size()));
      CHECK(answer->stats.evidence == Evidence::MemoryTokens);
      for (const int64_t leaf : answer->leaves) CHECK(std::find(reached.begin(), reached.end(), leaf) != reached.end());
    }
  }
}

TEST(the_other_kinds_of_evidence_are_the_same_with_an_adapter) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  AnswerRequest request;
  request.question = Both::kQuestion;
  request.leaves = {10, 12};
  request.max_tokens = 8;
  for (const Evidence evidence : {Evidence::Exact, Evidence::LeafKv}) {
    REQUIRE_OK(both.ask(d, Evidence::MemoryAndLeafKv));  // which leaves nothing behind
    request.evidence = evidence;
    const auto with = both.engine->answer(d, both.rig.memory(), request, [](std::string_view) {}, nullptr, {});
    const auto without = both.rig.engine->answer(d, both.rig.memory(), request, [](std::string_view) {}, nullptr, {});
    REQUIRE_OK(with);
    REQUIRE_OK(without);
    CHECK_EQ(with->text, without->text);
    CHECK(with->reached.empty() && with->stats.memory_tokens == 0);
  }
}

TEST(memories_and_the_text_of_the_best_leaves_go_together) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const DescentOptions descent{.children = 3};
  const auto alone = both.ask(d, Evidence::MemoryTokens, descent);
  const auto together = both.ask(d, Evidence::MemoryAndLeafKv, descent);
  const auto one_leaf = both.ask(d, Evidence::MemoryAndLeafKv, descent, 1);
  REQUIRE_OK(alone);
  REQUIRE_OK(together);
  REQUIRE_OK(one_leaf);
  CHECK_EQ(together->stats.memory_tokens, alone->stats.memory_tokens);
  CHECK(together->leaves.size() > 1 && together->stats.evidence_tokens > 100);
  REQUIRE(one_leaf->leaves.size() == 1);
  const auto best = std::max_element(one_leaf->reached.begin(), one_leaf->reached.end(), [&](auto& a, auto& b) {
    const auto is_leaf = [&](int64_t node) { return node >= 10 && node < 1000; };
    return is_leaf(a.node) != is_leaf(b.node) ? is_leaf(b.node) : a.share < b.share;
  });
  CHECK_EQ(one_leaf->leaves[0], best->node);
  CHECK(together->text != alone->text);
}

TEST(routing_goes_to_the_leaves_named_or_anywhere_where_that_is_asked_for) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const auto reached = [&](MemoryRouting routing, std::vector<int64_t> leaves = {11, 17}) {
    AnswerRequest request;
    request.memory_routing = routing;
    request.leaves = std::move(leaves);
    const auto answer = both.ask(d, Evidence::MemoryTokens, {.children = 1}, 3072, request);
    std::vector<int64_t> nodes;
    if (answer.ok())
      for (const ReachedNode& node : answer->reached) nodes.push_back(node.node);
    return nodes;
  };
  CHECK((reached(MemoryRouting::ToLeaves) == std::vector<int64_t>{1, 1000, 1006, 11, 17}));
  CHECK_EQ(reached(MemoryRouting::Learned).size(), size_t{3});
  CHECK(reached(MemoryRouting::ToLeaves, {}) == reached(MemoryRouting::Learned));  // no leaf is known
  CHECK_EQ(reached(MemoryRouting::Random).size(), size_t{3});
  CHECK(reached(MemoryRouting::Random) == reached(MemoryRouting::Random));
}

TEST(memories_and_leaves_have_room_in_the_trained_length_together) {
  const RandomModel model{.context = 600};
  Both both({}, model);
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const auto tokenizer = *Tokenizer::load(both.trained.file);
  const auto chat = ChatStyle::of(*both.trained.file);
  const size_t fixed = prompt_prefix(*tokenizer, chat, d.title).size() +
                       encode_pieces(*tokenizer, document_prompt(chat, "", {}, Both::kQuestion).after).size() + 8;
  const auto answer = both.ask(d, Evidence::MemoryAndLeafKv, {.children = 9});
  REQUIRE_OK(answer);
  CHECK_EQ(answer->stats.memory_tokens, 13);
  CHECK(!answer->leaves.empty() && answer->leaves.size() < 9);
  CHECK(fixed + static_cast<size_t>(answer->stats.evidence_tokens) <= 600);
  const auto few = both.ask(d, Evidence::MemoryTokens, {.children = 9, .most_nodes = 5});
  REQUIRE_OK(few);
  CHECK_EQ(few->stats.memory_tokens, 5);
}

TEST(a_text_that_was_read_anew_is_not_answered_from_its_old_memory) {
  Both both;
  REQUIRE(both.engine != nullptr);
  auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const auto before = both.ask(d, Evidence::MemoryTokens);
  REQUIRE_OK(before);
  both.engine->rest();
  CHECK_EQ(both.ask(d, Evidence::MemoryTokens)->text, before->text);
  d.nodes.back().text = "Other words under the same key.";
  CHECK(both.ask(d, Evidence::MemoryTokens).status().code() == Code::NotFound);
  CHECK(both.ask(d, Evidence::MemoryAndLeafKv).status().code() == Code::NotFound);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}, {.leaves = false}));
  REQUIRE_OK(both.ask(d, Evidence::MemoryTokens));
  const auto leaves = both.ask(d, Evidence::MemoryAndLeafKv);
  CHECK(leaves.status().code() == Code::NotFound &&
        leaves.status().message().find("for this model; encode it") != std::string::npos);
}

TEST(a_memory_that_was_damaged_meanwhile_says_what_to_do) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}, {.leaves = false}));
  std::string bytes = bytes_of(both.rig.memory_file());
  bytes[2 * 4096 + 5 * 4096] ^= 1;
  REQUIRE_OK(write_file(both.rig.memory_file(), bytes));
  const auto answer = both.ask(d, Evidence::MemoryTokens);
  CHECK(answer.status().code() == Code::Corrupt);
  CHECK(answer.status().message().find("encode it again") != std::string::npos);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}, {.leaves = false}));
  REQUIRE_OK(both.ask(d, Evidence::MemoryTokens));
}

TEST(memory_tokens_that_are_not_there_are_asked_for_in_words) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(3);
  const auto answer = both.ask(d, Evidence::MemoryTokens);
  CHECK(answer.status().code() == Code::NotFound);
  CHECK(answer.status().message().find("encode it first") != std::string::npos);
  // An adapter of another model.
  AdapterContents other = both.trained.adapter();
  other.model_fingerprint += 1;
  const auto path = both.rig.folder / "other.gguf";
  REQUIRE_OK(save_adapter(path, other));
  const auto engine = Engine::load(both.rig.folder / "model.gguf", Both::options(path));
  CHECK(engine.status().code() == Code::Invalid);
  CHECK(engine.status().message().find("was trained for") != std::string::npos);
}
