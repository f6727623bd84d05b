// The invariants of KV reuse (specification e.8) through the real kernels, and what happens to files that are stale,
// cut short or damaged.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu_backend.h"
#include "tests/support/memory_rig.h"

using namespace longleaf;
using namespace longleaf::test;
using kernels::DType;
using kernels::Span;

namespace {

// The engine's parts by themselves, for invariants that look inside.
struct Parts {
  std::string bytes = random_model_gguf({});
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  std::unique_ptr<Transformer> transformer;
  Parts() {
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "random");
    transformer = std::move(*Transformer::create(*Model::load(*file, *backend)));
  }
  KvStore store() const { return {transformer->model().config(), *backend, DType::F32}; }
  static std::vector<TokenId> ids(int n, int seed) {
    std::vector<TokenId> all;
    for (int i = 0; i < n; ++i) all.push_back(3 + (i * i * 3 + seed * 17) % 256);
    return all;
  }
  Status run(const std::vector<TokenId>& tokens, KvStore& kv, const Strategy& strategy = DenseStrategy(),
             std::vector<float>* logits = nullptr) const {
    return transformer->forward(tokens, kv, strategy, logits != nullptr ? Want::AllLogits : Want::Nothing, logits);
  }
};

void append(std::vector<TokenId>& to, const std::vector<TokenId>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double top = a.size() == b.size() ? 0 : std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) top = std::max(top, std::abs(double{a[i]} - double{b[i]}));
  return top;
}

// Copies keys [first, first + n) of one store behind the last key of another, rotated as they are.
void copy_keys(const KvStore& from, int first, int n, KvStore& to) {
  const int at = to.size();
  CHECK(to.append(std::span(from.positions()).subspan(static_cast<size_t>(first), static_cast<size_t>(n))).ok());
  std::vector<uint8_t> rows(from.rows_bytes(n));
  CHECK(from.read_rows(first, n, rows.data()).ok());
  CHECK(to.write_rows(at, n, rows.data()).ok());
}

}  // namespace

namespace {

// Heads of 32 numbers: keys and values in any format.
RandomModel wide_heads() {
  RandomModel model;
  model.d_model = 64, model.heads = 2, model.kv_heads = 1;
  return model;
}

}  // namespace

TEST(with_nothing_pruned_leaf_kv_equals_exact_bit_for_bit) {
  for (kernels::DType kv : {kernels::DType::F32, kernels::DType::F16, kernels::DType::Q8_0}) {
    MemoryRig rig(wide_heads(), kv);
    REQUIRE(rig.engine != nullptr);
    const auto d = document(9);
    REQUIRE_OK(rig.encode(d));
    const auto exact = rig.ask(d, Evidence::Exact, all_leaves(d)), reuse = rig.ask(d, Evidence::LeafKv, all_leaves(d));
    CHECK(!exact.text.empty());
    CHECK_EQ(exact.text, reuse.text);
    CHECK(reuse.stats.prefill_tokens < exact.stats.prefill_tokens / 5);
  }
}

TEST(a_prefix_of_the_leaves_equals_exact_too) {  // T7a
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(rig.encode(d));
  CHECK_EQ(rig.ask(d, Evidence::Exact, {10, 11, 12, 13}).text, rig.ask(d, Evidence::LeafKv, {10, 11, 12, 13}).text);
}

TEST(reuse_reads_only_the_question_through_the_model) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto small = document(6), large = [] {
    auto d = document(40);
    d.id = "large";
    return d;
  }();
  REQUIRE_OK(rig.encode(small));
  REQUIRE_OK(rig.encode(large));
  const int few = rig.ask(small, Evidence::LeafKv, {10, 12}).stats.prefill_tokens;
  CHECK_EQ(few, rig.ask(large, Evidence::LeafKv, all_leaves(large)).stats.prefill_tokens);
  CHECK(rig.ask(large, Evidence::LeafKv, {10, 30}, 16).stats.prefill_tokens == few + 16);  // unless repair is asked for
}

TEST(the_first_leaf_behind_the_prefix_needs_no_repair) {  // T3, and T5: deeper layers of later leaves deviate
  const Parts parts;
  const auto prefix = Parts::ids(20, 1), a = Parts::ids(30, 2), b = Parts::ids(25, 3);
  KvStore full = parts.store(), alone_a = parts.store(), alone_b = parts.store();
  std::vector<TokenId> all = prefix;
  append(all, a), append(all, b);
  REQUIRE_OK(parts.run(all, full));
  std::vector<TokenId> pa = prefix, pb = prefix;
  append(pa, a), append(pb, b);
  REQUIRE_OK(parts.run(pa, alone_a));
  REQUIRE_OK(parts.run(pb, alone_b));
  const auto rows = [&](const KvStore& kv, int layer, int first, int n, bool value) {
    std::vector<uint8_t> both(kv.rows_bytes(n));  // of two layers
    CHECK(kv.read_rows(first, n, both.data()).ok());
    std::vector<float> out(both.size() / 4 / 4);
    std::memcpy(out.data(), both.data() + static_cast<size_t>(2 * layer + (value ? 1 : 0)) * out.size() * 4,
                out.size() * 4);
    return out;
  };
  for (int layer = 0; layer < 2; ++layer) {
    CHECK(rows(full, layer, 20, 30, false) == rows(alone_a, layer, 20, 30, false));
    CHECK(rows(full, layer, 20, 30, true) == rows(alone_a, layer, 20, 30, true));
  }
  CHECK(rows(full, 0, 50, 25, true) == rows(alone_b, 0, 20, 25, true));                   // T5a: V needs no rotation
  CHECK(difference(rows(full, 1, 50, 25, true), rows(alone_b, 1, 20, 25, true)) > 1e-3);  // T5b
}

TEST(repairing_everything_equals_a_full_prefill_and_nothing_equals_plain_reuse) {  // T4a, T4b, T4c
  const Parts parts;
  const auto prefix = Parts::ids(20, 1), a = Parts::ids(30, 2), b = Parts::ids(25, 3), question = Parts::ids(12, 4);
  KvStore full = parts.store(), alone_a = parts.store(), alone_b = parts.store(), reuse = parts.store();
  std::vector<TokenId> all = prefix, pa = prefix, pb = prefix;
  append(all, a), append(all, b), append(pa, a), append(pb, b);
  REQUIRE_OK(parts.run(all, full));
  REQUIRE_OK(parts.run(pa, alone_a));
  REQUIRE_OK(parts.run(pb, alone_b));
  copy_keys(alone_a, 0, 50, reuse);
  copy_keys(alone_b, 20, 25, reuse);
  const SpanStrategy spans({{0, 50, 0, 0}, {50, 25, 30, 0}}, 75, 75);
  std::vector<float> expected, plain, nothing, repaired;
  REQUIRE_OK(parts.run(question, full, DenseStrategy(), &expected));
  REQUIRE_OK(parts.run(question, reuse, spans, &plain));
  reuse.truncate(75);
  REQUIRE_OK(parts.transformer->recompute({}, 50, reuse, spans));
  REQUIRE_OK(parts.run(question, reuse, spans, &nothing));
  CHECK(plain == nothing);
  reuse.truncate(75);
  // Leaf b again in its new surroundings: its own shift is 30, so what stands in front is 30 nearer.
  REQUIRE_OK(parts.transformer->recompute(b, 50, reuse, SpanStrategy({{0, 50, -30, 0}}, 50, 0)));
  REQUIRE_OK(parts.run(question, reuse, spans, &repaired));
  CHECK(difference(expected, plain) > 1e-3);
  CHECK(difference(expected, repaired) < 1e-3);  // specification: 1e-3 relative; logits are of order 1
}

TEST(question_likelihood_from_the_cache_equals_from_scratch) {  // T8
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(1);
  REQUIRE_OK(rig.encode(d));
  const auto cached = rig.engine->question_likelihood(d, rig.memory(), 10, "pumps", {});
  REQUIRE_OK(cached);
  // From scratch: the same leaf as a document of its own in another folder is encoded anew.
  TemporaryFolder other;
  CHECK(rig.engine->encode(d, other.path(), nullptr, {}).ok());
  const auto scratch = rig.engine->question_likelihood(d, other.path(), 10, "pumps", {});
  REQUIRE_OK(scratch);
  CHECK_EQ(*cached, *scratch);
  CHECK(std::isfinite(*cached) && *cached != 0);
}

TEST(documents_of_many_windows_are_encoded_and_answered) {
  RandomModel model;
  model.context = 600;
  MemoryRig rig(model);
  REQUIRE(rig.engine != nullptr);
  const auto d = document(20);
  REQUIRE_OK(rig.encode(d));
  CHECK_EQ(rig.engine->encoded(d, rig.memory()).leaves, size_t{20});
  CHECK(!rig.ask(d, Evidence::LeafKv, {10, 19, 28}).text.empty());
  const NodeMemory memory = *rig.engine->node_memory(d, rig.memory());
  CHECK_EQ(memory.nodes.size(), d.nodes.size());
}

TEST(encoding_resumes_and_gives_the_same_file) {
  RandomModel model = wide_heads();
  model.context = 600;
  for (kernels::DType kv : {kernels::DType::F32, kernels::DType::Q8_0}) {
    MemoryRig rig(model, kv), other(model, kv);
    REQUIRE(rig.engine != nullptr && other.engine != nullptr);
    const auto d = document(14);
    REQUIRE_OK(other.encode(d));
    size_t done = 0;
    for (int round = 0; round < 20 && done < 14; ++round) {  // stopped after every second leaf
      std::stop_source stop;
      const auto report = rig.engine->encode(
          d, rig.memory(),
          [&](const EncodeProgress& p) {
            if (p.leaves_done >= done + 2) stop.request_stop();
          },
          stop.get_token());
      if (!report.ok()) CHECK(report.status().code() == Code::Cancelled);
      const size_t now = rig.engine->encoded(d, rig.memory()).leaves;
      CHECK(now > done);
      done = now;
    }
    CHECK_EQ(done, size_t{14});
    CHECK(bytes_of(rig.memory_file()) == bytes_of(other.memory_file()));
  }
}

TEST(eight_bits_take_half_the_file_and_the_place_of_what_was_there) {
  MemoryRig rig(wide_heads(), kernels::DType::F16);
  REQUIRE(rig.engine != nullptr);
  const auto d = document(9);
  const auto whole = rig.engine->encode(d, rig.memory(), nullptr, {});
  REQUIRE_OK(whole);
  EngineOptions options;
  options.device = "cpu", options.n_threads = 2, options.kv = kernels::DType::Q8_0;
  auto small = Engine::load(rig.folder / "model.gguf", options);
  REQUIRE_OK(small);
  CHECK_EQ((*small)->encoded(d, rig.memory()).leaves, size_t{0});
  AnswerRequest request;
  request.question = "Which leaf?";
  request.leaves = {10};
  request.evidence = Evidence::LeafKv;
  const auto early = (*small)->answer(d, rig.memory(), request, [](std::string_view) {}, nullptr, {});
  CHECK(early.status().message().find("ask with --kv f16") != std::string::npos);
  std::stop_source stop;
  const auto stopped = (*small)->encode(
      d, rig.memory(), [&](const EncodeProgress&) { stop.request_stop(); }, stop.get_token());
  CHECK(stopped.status().code() == Code::Cancelled);
  CHECK_EQ(rig.engine->encoded(d, rig.memory()).leaves, size_t{9});  // until the other is whole
  const auto half = (*small)->encode(d, rig.memory(), nullptr, {});
  REQUIRE_OK(half);
  CHECK(static_cast<double>(half->bytes) < 0.6 * static_cast<double>(whole->bytes));  // 34 of 64 bytes, and whole pages
  CHECK_EQ(rig.engine->encoded(d, rig.memory()).leaves, size_t{0});
  CHECK_EQ((*small)->encoded(d, rig.memory()).leaves, size_t{9});
  CHECK((*small)->facts().kv_bytes_per_token * 64 == rig.engine->facts().kv_bytes_per_token * 34);
}

TEST(the_format_of_keys_and_values_is_changed_for_the_next_question) {
  MemoryRig rig(wide_heads(), kernels::DType::F16);
  REQUIRE(rig.engine != nullptr);
  const auto d = document(9);
  REQUIRE_OK(rig.encode(d));
  const uint64_t bytes = rig.engine->facts().kv_bytes_per_token;
  REQUIRE_OK(rig.engine->use_kv(kernels::DType::Q8_0));
  CHECK(rig.engine->is_resting());
  CHECK(rig.engine->facts().kv_bytes_per_token < bytes);
  CHECK_EQ(rig.engine->encoded(d, rig.memory()).leaves, size_t{0});
  REQUIRE_OK(rig.encode(d));
  CHECK_EQ(rig.ask(d, Evidence::Exact, all_leaves(d)).text, rig.ask(d, Evidence::LeafKv, all_leaves(d)).text);
}

TEST(heads_that_do_not_fit_eight_bits_are_refused_with_what_to_do) {
  TemporaryFolder folder;
  std::ofstream(folder / "model.gguf", std::ios::binary) << random_model_gguf({});  // heads of 8 numbers
  EngineOptions options;
  options.device = "cpu", options.kv = kernels::DType::Q8_0;
  const auto engine = Engine::load(folder / "model.gguf", options);
  CHECK(engine.status().code() == Code::Unsupported);
  CHECK(engine.status().message().find("--kv f16") != std::string::npos);
  const auto facts = describe_model(folder / "model.gguf", kernels::DType::Q8_0);  // as it would be opened
  REQUIRE_OK(facts);
  CHECK_EQ(facts->kv_bytes_per_token, describe_model(folder / "model.gguf")->kv_bytes_per_token);
}

TEST(a_text_that_the_vocabulary_cannot_spell_is_refused) {
  RandomModel model;
  model.vocabulary = [](GgufWriter& gguf) {
    gguf.text("tokenizer.ggml.model", "llama");
    gguf.texts("tokenizer.ggml.tokens", {"\u4e00", "\u4e01", "\u4e02", "\u4e03"});
    gguf.floats("tokenizer.ggml.scores", {0, 0, 0, 0});
    gguf.ints("tokenizer.ggml.token_type", {1, 1, 1, 1});
    gguf.flag("tokenizer.ggml.add_space_prefix", false);
    return 4;
  };
  model.chat_template = "";
  MemoryRig rig(model);
  REQUIRE(rig.engine != nullptr);
  DocumentInput d{"doc", 1, "", {{1, 0, false, 0, ""}, {10, 1, true, 3, "xyz"}}};
  AnswerRequest request;
  request.question = "xyz";
  request.leaves = {10};
  request.evidence = Evidence::Exact;
  const auto answer = rig.engine->answer(d, rig.memory(), request, [](std::string_view) {}, nullptr, {});
  CHECK(answer.status().code() == Code::Invalid);
  CHECK(answer.status().message().find("has no word of this text") != std::string::npos);
}

TEST(another_text_or_model_makes_the_memory_stale) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  auto d = document(4);
  REQUIRE_OK(rig.encode(d));
  d.nodes.back().text = "Another text.\n\n";
  MemoryRig fresh;  // the same weights, but nothing remembered of the first text
  std::filesystem::copy(rig.memory(), fresh.memory());
  CHECK_EQ(fresh.engine->encoded(d, fresh.memory()).leaves, size_t{0});
  REQUIRE_OK(fresh.encode(d));
  CHECK_EQ(fresh.engine->encoded(d, fresh.memory()).leaves, size_t{4});
  CHECK_EQ(fresh.ask(d, Evidence::Exact, all_leaves(d)).text, fresh.ask(d, Evidence::LeafKv, all_leaves(d)).text);
}

TEST(damaged_bytes_are_noticed_and_encoded_again) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(5);
  REQUIRE_OK(rig.encode(d));
  const std::string whole = bytes_of(rig.memory_file());
  const std::string expected = rig.ask(d, Evidence::Exact, all_leaves(d)).text;
  std::mt19937 random(3);
  for (int i = 0; i < 60; ++i) {
    std::string damaged = whole;
    if (i % 3 == 0)
      damaged.resize(random() % (whole.size() - 4096));  // more than the padding
    else
      for (int n = 0; n < 40; ++n) damaged[random() % damaged.size()] ^= static_cast<char>(1 + random() % 255);
    std::ofstream(rig.memory_file(), std::ios::binary) << damaged;
    if (i % 3 == 0) CHECK(verify_memory_file(rig.memory_file()).code() == Code::Corrupt);
    // Auto never fails: what is damaged is read from the text.
    const auto answer = rig.ask(d, Evidence::Auto, all_leaves(d));
    CHECK_EQ(answer.text, expected);
    REQUIRE_OK(rig.encode(d));
    CHECK_EQ(bytes_of(rig.memory_file()).size(), whole.size());
    REQUIRE_OK(verify_memory_file(rig.memory_file()));
    CHECK_EQ(rig.ask(d, Evidence::LeafKv, all_leaves(d)).stats.evidence, Evidence::LeafKv);
  }
  CHECK_EQ(rig.ask(d, Evidence::LeafKv, all_leaves(d)).text, expected);
}

TEST(a_store_that_could_not_grow_works_on_with_what_it_has) {
  const std::string bytes = random_model_gguf({});
  auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "random");
  REQUIRE_OK(file);
  auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 1 << 20});
  const auto model = Model::load(*file, *backend);
  REQUIRE_OK(model);
  KvStore kv((*model)->config(), *backend, DType::F32);
  const std::vector<int32_t> few(10), many(100000);
  REQUIRE_OK(kv.append(few));
  CHECK(kv.append(many).code() == Code::NoMemory);
  CHECK_EQ(kv.size(), 10);
  std::vector<uint8_t> rows(kv.rows_bytes(10), 1), back(rows.size());
  const std::vector<int32_t> more(200);  // within the pages that were allocated before memory ran out
  REQUIRE_OK(kv.append(more));
  REQUIRE_OK(kv.write_rows(195, 10, rows.data()));
  REQUIRE_OK(kv.read_rows(195, 10, back.data()));
  CHECK(back == rows);
}

TEST(only_one_writer_at_a_time) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(3);
  TemporaryFolder folder;
  MemoryPlan plan{7, 1, 4, 8, {{0, 0, 0, {1, 2}}}};
  const auto first = MemoryFile::open_or_create(folder / "m.llm", plan);
  REQUIRE_OK(first);
  CHECK(MemoryFile::open_or_create(folder / "m.llm", plan).status().code() == Code::Locked);
  CHECK(MemoryFile::open(folder / "m.llm", plan).ok());
}

TEST(an_open_file_is_current_until_it_is_written_to_or_gone) {
  TemporaryFolder folder;
  const auto path = folder / "m.llm";
  const MemoryPlan plan{7, 0, 4, 0, {{}, {}}};
  {
    const auto writer = MemoryFile::open_or_create(path, plan);
    REQUIRE_OK(writer);
    REQUIRE_OK((*writer)->write(0, {{1, 2, 3, 4}, {}}));
    const auto half = MemoryFile::open(path, plan);
    REQUIRE_OK(half);
    CHECK(!(*half)->is_current());  // the rest may come
    REQUIRE_OK((*writer)->write(1, {{5, 6, 7, 8}, {}}));
  }
  const auto whole = MemoryFile::open(path, plan);
  REQUIRE_OK(whole);
  CHECK((*whole)->is_current());
  const auto written = std::filesystem::last_write_time(path);
  std::filesystem::last_write_time(path, written + std::chrono::seconds(1));
  CHECK(!(*whole)->is_current());
  std::filesystem::last_write_time(path, written);
  CHECK((*whole)->is_current());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  std::filesystem::last_write_time(path, written);
  CHECK(!(*whole)->is_current());
  std::filesystem::remove(path);
  CHECK(!(*whole)->is_current());
}

TEST(asking_for_what_is_not_there_says_what_to_do) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(2);
  AnswerRequest request;
  request.question = "x";
  request.leaves = {10};
  request.evidence = Evidence::LeafKv;
  auto result = rig.engine->answer(d, rig.memory(), request, [](std::string_view) {}, nullptr, {});
  CHECK(result.status().code() == Code::NotFound);
  request.evidence = Evidence::MemoryTokens;
  result = rig.engine->answer(d, rig.memory(), request, [](std::string_view) {}, nullptr, {});
  CHECK(result.status().code() == Code::Unsupported && result.status().message().find("adapter") != std::string::npos);
}

TEST(a_stop_request_ends_the_answer_and_keeps_what_was_said) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(2);
  AnswerRequest request;
  request.question = "x";
  request.leaves = {10};
  request.max_tokens = 2000;
  std::stop_source stop;
  int pieces = 0;
  const auto result = rig.engine->answer(
      d, rig.memory(), request,
      [&](std::string_view) {
        if (++pieces == 3) stop.request_stop();
      },
      nullptr, stop.get_token());
  REQUIRE_OK(result);
  CHECK(result->stopped);
  CHECK(result->stats.decode_tokens < 100);
}

TEST(parents_are_weighted_means_of_their_children) {
  const std::vector<DocumentNode> nodes = {{1, 0, false, 0, ""}, {2, 1, true, 10, "a"}, {3, 1, true, 10, "b"}};
  const auto memory = make_node_memory(nodes, {{2, {2, 0}}, {3, {0, 2}}});
  CHECK_EQ(memory.nodes.at(1).size(), size_t{2});
  CHECK(std::abs(memory.nodes.at(2)[0] - std::sqrt(0.5f)) < 1e-6f);  // (2,0) - (1,1), to unit length
  CHECK(std::abs(memory.nodes.at(2)[1] + std::sqrt(0.5f)) < 1e-6f);
  CHECK(std::abs(memory.nodes.at(1)[0]) < 1e-6f);  // opposite children of equal weight
}
