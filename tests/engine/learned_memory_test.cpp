// The learned memory in the engine that answers: what it computes is what training computed, and what happens to files
// and adapters that do not fit.
#include "engine/memory/learned_memory.h"

#include <algorithm>

#include "engine/base/files.h"
#include "tests/support/memory_in_engine.h"
#include "tests/support/memory_rig.h"

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
      const MemoryInEngine answers(trained);
      const TextTree t = tree();
      answers.encode(t);
      const auto nodes = answers.memories(t);
      const auto expected = trained.memories(t);
      REQUIRE(nodes.values.size() == expected.size());
      CHECK(difference(nodes.values, expected) < kRounding);

      const std::vector<TokenId> question(t.tokens[1].begin(), t.tokens[1].begin() + 7);
      trained.tape.clear();
      const std::span<const TokenId> asked[] = {question};
      const auto memories = trained.tape.constant(static_cast<int>(t.size()), 32, expected);
      const auto scores = trained.tape.read(
          trained.memory->scores(trained.tape, trained.memory->queries(trained.tape, asked), memories));
      CHECK(difference(answers.scores(question, nodes), scores) < kRounding);

      const int some[] = {0, 4, 9};
      const auto entered = answers.learned->entered(nodes, some);
      REQUIRE_OK(entered);
      trained.tape.clear();
      const auto again = trained.tape.constant(static_cast<int>(t.size()), 32, nodes.values);
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
    const MemoryInEngine answers(trained);
    TextTree t = tree();
    for (auto& text : t.tokens)
      for (TokenId& token : text) token %= trained.decoder->config().n_vocab;
    answers.encode(t);
    const double off = difference(answers.memories(t).values, trained.memories(t));
    std::printf("  %s: %.2g of %.2g allowed\n", model, off, kRounding);
    CHECK(off < kRounding);
  }
}

TEST(texts_that_are_read_together_do_not_see_each_other) {
  TrainedAdapter trained({});
  const MemoryInEngine answers(trained);
  TextTree together = tree();
  answers.encode(together);
  const auto all = answers.memories(together).values;
  for (const size_t leaf : {2u, 3u, 4u, 6u, 10u}) {  // each alone below a root
    TextTree alone;
    alone.parents = {-1, 0};
    alone.tokens = {{}, together.tokens[leaf]};
    answers.encode(alone, {}, "alone");
    const auto one = answers.memories(alone, "alone").values;
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
  const MemoryInEngine answers(trained);
  TextTree t = tree();
  const int64_t whole = answers.encode(t);
  int64_t tokens = 0;
  for (const auto& text : t.tokens) tokens += static_cast<int64_t>(text.size());
  CHECK_EQ(whole, tokens);
  const auto before = answers.memories(t);

  t.tokens[3] = {40, 41, 42};
  const auto known = answers.learned->known(t, answers.folder.path());
  CHECK_EQ(answers.encode(t, known), int64_t{3 + 12});  // the leaf, and its parent's text; the root has none
  const auto after = answers.memories(t);
  for (size_t node = 0; node < t.size(); ++node) {
    const bool is_above = node == 0 || node == 1 || node == 3;
    CHECK((row(before.values, node) != row(after.values, node)) == is_above);
  }
  answers.encode(t, {}, "anew");
  CHECK(difference(answers.memories(t, "anew").values, after.values) < kRounding);
}

TEST(a_memory_of_another_adapter_is_not_taken) {
  TrainedAdapter trained({});
  const MemoryInEngine answers(trained);
  const TextTree t = tree();
  answers.encode(t);
  AdapterContents other = trained.adapter();
  other.tensors[0].values[0] += 1;
  const MemoryInEngine others(trained, other);
  CHECK(others.learned->fingerprint() != answers.learned->fingerprint());
  CHECK(others.learned->known(t, answers.folder.path()).empty());
  CHECK(others.learned->plan(t, keys_of(t)).key != answers.learned->plan(t, keys_of(t)).key);
}

TEST(a_making_that_was_stopped_goes_on) {
  TrainedAdapter trained({});
  const MemoryInEngine answers(trained);
  const TextTree t = tree();
  answers.encode(t, {}, "whole");
  const size_t done = answers.encode_until(t, 3);
  CHECK(done >= 3 && done < t.size());
  const int64_t rest = answers.encode(t);
  CHECK(rest > 0 && rest < answers.encode(t, {}, "again"));
  CHECK(difference(answers.memories(t).values, answers.memories(t, "whole").values) < kRounding);
  CHECK_EQ(answers.encode(t), int64_t{0});
}

TEST(damaged_memories_are_made_again) {
  TrainedAdapter trained({});
  const MemoryInEngine answers(trained);
  const TextTree t = tree();
  answers.encode(t);
  const std::string whole = bytes_of(answers.path());
  const auto before = answers.memories(t).values;
  std::string damaged = whole;
  damaged[2 * 4096 + 8] ^= 1;  // in the first vector, behind header and table
  REQUIRE_OK(write_file(answers.path(), damaged));
  CHECK_EQ(answers.learned->known(t, answers.folder.path()).size(), t.size() - 1);
  answers.encode(t);
  CHECK(difference(answers.memories(t).values, before) < kRounding);
  REQUIRE_OK(write_file(answers.path(), whole.substr(0, whole.size() / 2)));
  CHECK(answers.learned->known(t, answers.folder.path()).size() < t.size());
  answers.encode(t);
  CHECK(difference(answers.memories(t).values, before) < kRounding);
}

TEST(an_adapter_that_does_not_fit_is_refused_with_what_is_wrong) {
  TrainedAdapter trained({});
  const auto refused = [&](const std::function<void(AdapterContents&)>& spoil) {
    AdapterContents adapter = trained.adapter();
    spoil(adapter);
    auto backend = kernels::make_cpu_backend();
    auto transformer = std::move(*Transformer::create(*Model::load(trained.file, *backend)));
    const auto status = LearnedMemory::load(adapter, *transformer, kernels::DType::F32).status();
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
