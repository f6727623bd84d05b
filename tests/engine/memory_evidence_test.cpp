// Answers from learned memories: they are what training's own parts would say, and what is missing or damaged is told.
#include <algorithm>

#include "engine/base/files.h"
#include "tests/support/memory_in_engine.h"
#include "tests/support/memory_rig.h"
#include "tests/support/trained_adapter.h"

using namespace longleaf;
using namespace longleaf::test;

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
    options.kv = kernels::DType::F32;
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
    const TextTree t = text_tree(d, *tokenizer, piece_length(trained.memory->weights().settings(), 4096), keys);
    train::Tape& tape = trained.tape;
    tape.clear();
    const auto memories = trained.memory->build(tape, t);
    const auto words = tokenizer->encode(kQuestion);
    const std::span<const TokenId> asked[] = {words};
    const auto scores = tape.read(trained.memory->scores(tape, trained.memory->queries(tape, asked), memories));
    const auto nodes = descend(t.parents, scores, descent);
    for (const int node : nodes)
      if (!is_piece(t, keys, node)) reached.push_back(keys[static_cast<size_t>(node)]);
    const auto rows = tape.gathered(trained.memory->weights().entered(tape, memories), {nodes.begin(), nodes.end()});
    const auto front = prompt_prefix(*tokenizer, chat, d.title);
    const auto behind = encode_pieces(*tokenizer, document_prompt(chat, "", {}, kQuestion).after);
    return {reached, trained.answer(front, rows, behind, 8)};
  }
  static constexpr const char* kQuestion = "Which leaf speaks of pumps?";
};

// The engine's answer from memories and all text, and what it is read from front to back: the text, the memories with
// the additions, and the question without.
void check_text_beside_memories(uint32_t seed) {
  Both both({}, {.seed = seed});
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const auto answer = both.ask(d, Evidence::MemoryAndLeafKv, {.children = 9});
  REQUIRE_OK(answer);
  REQUIRE(answer->leaves.size() == 9);

  const MemoryInEngine parts(both.trained);
  const auto tokenizer = *Tokenizer::load(both.trained.file);
  const auto chat = ChatStyle::of(*both.trained.file);
  std::vector<int64_t> keys;
  const TextTree t = text_tree(d, *tokenizer, 4096, keys);
  parts.encode(t);
  const auto nodes = descend(t.parents, std::vector<float>(t.size()), {.children = 9});
  const auto rows = parts.learned->entered(parts.memories(t), nodes);
  REQUIRE_OK(rows);
  auto text = prompt_prefix(*tokenizer, chat, d.title);
  for (const auto& tokens : t.tokens) text.insert(text.end(), tokens.begin(), tokens.end());
  const DenseStrategy plain, with_additions(&parts.learned->additions());
  parts.store->truncate(0);
  const auto read = [&](const Input& input, const Strategy& strategy, std::vector<float>* logits = nullptr) {
    CHECK(parts.transformer
              ->forward(input, *parts.store, strategy, logits == nullptr ? Want::Nothing : Want::LastLogits, logits)
              .ok());
  };
  read(Input{text}, plain);
  read(Input{std::vector<TokenId>(nodes.size(), kVector), *rows}, with_additions);
  std::vector<float> logits;
  auto behind = encode_pieces(*tokenizer, document_prompt(chat, "", {}, Both::kQuestion).after);
  Utf8Stream stream;
  std::string said;
  for (int i = 0; i < 8; ++i) {
    read(Input{behind}, plain, &logits);
    behind = {static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
    if (tokenizer->ends_answer(behind[0])) break;
    said += stream.push(tokenizer->decode(behind[0]));
  }
  said += stream.finish();
  CHECK_EQ(answer->text, said.substr(std::min(said.find_first_not_of(" \n\t"), said.size())));
}

}  // namespace

TEST(an_answer_from_memory_tokens_is_the_one_that_training_gives) {
  for (const MemorySettings& settings :
       {MemorySettings{.scales = true}, MemorySettings{}, MemorySettings{.piece_tokens = 24}}) {
    Both both(settings);
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
      CHECK_EQ(answer->text, text);
      if (settings.piece_tokens == 0) CHECK_EQ(answer->stats.memory_tokens, static_cast<int>(reached.size()));
      if (settings.piece_tokens > 0) CHECK(answer->stats.memory_tokens > static_cast<int>(reached.size()));
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

TEST(text_beside_memories_is_read_without_the_additions) {
  for (const uint32_t seed : {1u, 2u, 3u, 4u, 5u}) check_text_beside_memories(seed);  // some of them say much the same
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

TEST(the_pieces_of_a_leaf_stand_for_it) {
  Both both({.piece_tokens = 24});
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  AnswerRequest request;
  request.memory_routing = MemoryRouting::ToLeaves, request.leaves = {11, 17};
  for (const int children : {1, 2}) {
    const auto led = both.ask(d, Evidence::MemoryTokens, {.children = children}, 3072, request);
    REQUIRE_OK(led);
    CHECK((led->leaves == std::vector<int64_t>{11, 17}));
    CHECK_EQ(led->reached.size(), size_t{5});  // the document, two sections and two leaves, each once
    CHECK_EQ(led->stats.memory_tokens, 5 + 2 * children);
  }
  const auto path = both.ask(d, Evidence::MemoryTokens, {.children = 1});
  REQUIRE_OK(path);
  const auto leaves_only = both.ask(d, Evidence::MemoryTokens, {.children = 1, .leaves_only = true});
  REQUIRE_OK(leaves_only);
  CHECK(leaves_only->leaves == path->leaves);
  CHECK(leaves_only->reached.size() == 1 && leaves_only->reached[0].node == path->leaves[0]);
  CHECK_EQ(leaves_only->stats.memory_tokens, 1);
  const auto no_pieces = both.ask(d, Evidence::MemoryTokens, {.children = 1, .most_depth = 2});
  REQUIRE_OK(no_pieces);
  CHECK(no_pieces->leaves == path->leaves);
  CHECK_EQ(no_pieces->stats.memory_tokens, 3);
  const auto all = both.ask(d, Evidence::MemoryAndLeafKv, {.children = 100});
  REQUIRE_OK(all);
  CHECK_EQ(all->leaves.size(), size_t{9});
  CHECK_EQ(all->reached.size(), size_t{13});
  size_t tokens = 0;
  for (const auto& node : d.nodes) tokens += (*Tokenizer::load(both.trained.file))->encode(node.text).size();
  CHECK_EQ(static_cast<size_t>(all->stats.evidence_tokens - all->stats.memory_tokens), tokens);  // each leaf once
}

TEST(what_stands_in_front_of_memories_is_read_for_the_first_question_only) {
  Both both;
  REQUIRE(both.engine != nullptr);
  auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}, {.leaves = false}));
  const auto first = both.ask(d, Evidence::MemoryTokens), second = both.ask(d, Evidence::MemoryTokens);
  REQUIRE_OK(first);
  REQUIRE_OK(second);
  CHECK_EQ(second->text, first->text);
  const auto prefix = prompt_prefix(**Tokenizer::load(both.trained.file), ChatStyle::of(*both.trained.file), d.title);
  CHECK_EQ(second->stats.prefill_tokens + static_cast<int>(prefix.size()), first->stats.prefill_tokens);
  d.title = "Another title of the manual";  // which stands in front, too
  const auto renamed = both.ask(d, Evidence::MemoryTokens);
  REQUIRE_OK(renamed);
  CHECK(renamed->stats.prefill_tokens > first->stats.prefill_tokens);
}

TEST(a_memory_that_another_program_takes_away_or_makes_is_seen) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}, {.leaves = false}));
  const auto before = both.ask(d, Evidence::MemoryTokens);
  REQUIRE_OK(before);
  const auto file = both.rig.memory_file(), elsewhere = both.rig.folder / "elsewhere.llm";
  std::filesystem::rename(file, elsewhere);
  CHECK(both.ask(d, Evidence::MemoryTokens).status().code() == Code::NotFound);
  std::filesystem::rename(elsewhere, file);
  const auto after = both.ask(d, Evidence::MemoryTokens);
  REQUIRE_OK(after);
  CHECK_EQ(after->text, before->text);
}

TEST(a_question_goes_on_to_as_many_children_as_in_training) {
  Both both({.children = 2});
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const auto n_reached = [&](int children) {
    const auto answer = both.ask(d, Evidence::MemoryTokens, {.children = children});
    return answer.ok() ? answer->stats.memory_tokens : 0;
  };
  CHECK_EQ(n_reached(0), 1 + 2 + 4);
  CHECK_EQ(n_reached(1), 1 + 1 + 1);
}

TEST(the_words_of_a_question_lead_it_through_learned_memories_too) {
  Both both;
  REQUIRE(both.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(both.engine->encode(d, both.rig.memory(), nullptr, {}));
  const auto leaf_reached = [&](MemoryRouting routing, std::unordered_map<int64_t, double> words) {
    AnswerRequest request;
    request.memory_routing = routing;
    request.words = std::move(words);
    const auto answer = both.ask(d, Evidence::MemoryTokens, {.children = 1}, 3072, request);
    return answer.ok() && answer->leaves.size() == 1 ? answer->leaves[0] : 0;
  };
  const int64_t learned = leaf_reached(MemoryRouting::Learned, {});
  REQUIRE(learned != 0);
  CHECK_EQ(leaf_reached(MemoryRouting::WithWords, {}), learned);
  for (int64_t leaf = 10; leaf < 19; ++leaf) {
    const std::unordered_map<int64_t, double> words = {{leaf, 100}, {learned == leaf ? leaf + 1 : learned, 50}};
    CHECK_EQ(leaf_reached(MemoryRouting::WithWords, words), leaf);  // of two that were named, the one named more
    CHECK_EQ(leaf_reached(MemoryRouting::Learned, words), learned);
  }
  CHECK_EQ(leaf_reached(MemoryRouting::WithWords, {{9999, 100}}), learned);  // of no leaf of this document
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
  bytes[2 * 4096] ^= 1;
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
