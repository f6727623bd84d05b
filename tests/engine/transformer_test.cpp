// The forward pass against an independent implementation (tests/data/make_models.py) and a real model's known story.
#include "engine/transformer/transformer.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>

#include "engine/generate/sampler.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/stories.h"
#include "tests/support/test_gpu.h"

using namespace longleaf;
using namespace longleaf::test;
using kernels::DType;

namespace {

const std::filesystem::path kModels = std::filesystem::path(LONGLEAF_TEST_DATA) / "models";
constexpr int kVocabulary = 64;

std::vector<TokenId> golden_tokens() {
  std::vector<TokenId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back((7 * i * i + 3 * i + 1) % kVocabulary);
  return ids;
}

std::vector<float> read_floats(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

struct Rig {
  kernels::BackendPtr backend =
      test_gpu() != nullptr ? make_test_gpu()
                            : kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 2, .limit_bytes = 0});
  std::unique_ptr<Transformer> transformer;
  explicit Rig(const std::string& name, bool reference = false) {
    if (reference) backend = kernels::make_reference_backend();
    auto file = ModelFile::open(kModels / name);
    if (!file.ok()) {
      fail(__FILE__, __LINE__, file.status().message());
      return;
    }
    auto model = Model::load(*file, *backend);
    if (!model.ok()) {
      fail(__FILE__, __LINE__, model.status().message());
      return;
    }
    transformer = std::move(*Transformer::create(*model));
  }
  KvStore store(DType type = DType::F32) const { return {transformer->model().config(), *backend, type}; }
  // Logits of all tokens when they come in pieces of the given sizes (the last size repeats).
  std::vector<float> run(const std::vector<TokenId>& ids, const std::vector<size_t>& sizes) const {
    KvStore kv = store();
    std::vector<float> all, part;
    size_t at = 0;
    for (size_t i = 0; at < ids.size(); ++i) {
      const size_t n = std::min(sizes[std::min(i, sizes.size() - 1)], ids.size() - at);
      CHECK(transformer->forward(std::span(ids).subspan(at, n), kv, DenseStrategy(), Want::AllLogits, &part).ok());
      all.insert(all.end(), part.begin(), part.end());
      at += n;
    }
    return all;
  }
};

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
  double top = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(double{a[i]} - double{b[i]});
    top = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(top, d);
  }
  return top;
}

}  // namespace

void check_logits(const std::string& name, const std::string& file, bool reference) {
  const Rig rig(file, reference);
  REQUIRE(rig.transformer != nullptr);
  const auto expected = read_floats(kModels / (name + ".logits"));
  REQUIRE(expected.size() == 40 * kVocabulary);
  float largest = 0;
  for (float x : expected) largest = std::max(largest, std::abs(x));
  // Seven matrix products in each layer and the output, each with sums of at most 64 terms in f32: relative error
  // at most (7 * layers + 1) * (64 + 2) * 2^-24 of the largest magnitude passing through.
  // Before a product with BF16 weights its input is rounded, by 2^-9 of each number at most.
  const ModelConfig& config = rig.transformer->model().config();
  const double rounding = config.weight_format == "BF16" ? 0x1p-9 : 0;
  const double bound = (7 * config.n_layers + 1) * (66 * 0x1p-24 + rounding) * double{largest};
  const double difference = largest_difference(expected, rig.run(golden_tokens(), {40}));
  std::printf("  %s%s: %.2g of %.2g allowed\n", file.c_str(), reference ? " (reference)" : "", difference, bound);
  CHECK(difference <= bound);
}

constexpr const char* kGolden[] = {"llama",      "llama_tied", "llama_rope_scaling",
                                   "mistral",    "qwen2",      "qwen3",
                                   "qwen3_yarn", "qwen3moe",   "gemma2",
                                   "gemma3",     "phi3",       "smollm3",
                                   "granite",    "olmo2"};

TEST(logits_agree_with_an_independent_implementation) {
  for (const char* name : kGolden) {
    check_logits(name, std::string(name) + ".gguf", false);
    check_logits(name, std::string(name) + ".gguf", true);
    check_logits(name, name, false);  // a safetensors folder
  }
  check_logits("gemma2_bf16", "gemma2_bf16", false);
  check_logits("split", "split-00002-of-00003.gguf", false);
}

TEST(prefill_gives_the_same_bits_at_once_in_uneven_pieces_and_token_by_token) {
  for (const char* name : kGolden) {  // what guessing ahead rests on: see generate/lookahead.h
    const Rig rig(std::string(name) + ".gguf");
    REQUIRE(rig.transformer != nullptr);
    auto ids = golden_tokens();
    if (test_gpu() != nullptr) ids.resize(kernels::kSameBits);
    const auto at_once = rig.run(ids, {ids.size()});
    CHECK(at_once == rig.run(ids, {1}));
    CHECK(at_once == rig.run(ids, {7, 1, 13, 2, 5}));
  }
}

TEST(a_long_prompt_gives_the_same_bits_across_batches) {
  const Rig rig("qwen2.gguf");
  REQUIRE(rig.transformer != nullptr);
  std::vector<TokenId> ids;
  // Logits are computed sixteen at a time: no rest is so small that a card sums it in another order.
  for (int i = 0; i < 2 * rig.transformer->batch_tokens() + 32; ++i) ids.push_back(i * i % kVocabulary);
  CHECK(rig.run(ids, {ids.size()}) == rig.run(ids, {112}));
}

TEST(cutting_a_plan_into_spans_changes_no_bit) {
  const Rig rig("llama.gguf");
  REQUIRE(rig.transformer != nullptr);
  const auto ids = golden_tokens();
  KvStore dense = rig.store(), cut = rig.store();
  std::vector<float> a, b;
  REQUIRE_OK(rig.transformer->forward(std::span(ids).first(30), dense, DenseStrategy(), Want::Nothing, nullptr));
  REQUIRE_OK(rig.transformer->forward(std::span(ids).first(30), cut, DenseStrategy(), Want::Nothing, nullptr));
  REQUIRE_OK(rig.transformer->forward(std::span(ids).subspan(30), dense, DenseStrategy(), Want::AllLogits, &a));
  const SpanStrategy spans({{20, 10, 0, 0}, {0, 7, 0, 1}, {7, 13, 0, 0}}, 30, 30);
  REQUIRE_OK(rig.transformer->forward(std::span(ids).subspan(30), cut, spans, Want::AllLogits, &b));
  CHECK(a == b);
  cut.truncate(30);
  const SpanStrategy pruned({{0, 7, 0, 1}, {20, 10, 0, 0}}, 30, 30);
  REQUIRE_OK(rig.transformer->forward(std::span(ids).subspan(30), cut, pruned, Want::AllLogits, &b));
  CHECK(a != b);
}

TEST(moving_everything_by_one_shift_changes_nothing_beyond_rounding) {  // invariant T2
  const Rig rig("llama.gguf");
  REQUIRE(rig.transformer != nullptr);
  const auto ids = golden_tokens();
  KvStore here = rig.store(), there = rig.store();
  std::vector<float> a, b;
  REQUIRE_OK(rig.transformer->forward(std::span(ids).first(30), here, DenseStrategy(), Want::Nothing, nullptr));
  REQUIRE_OK(rig.transformer->forward(std::span(ids).first(30), there, DenseStrategy(), Want::Nothing, nullptr));
  REQUIRE_OK(rig.transformer->forward(std::span(ids).subspan(30), here, DenseStrategy(), Want::AllLogits, &a));
  const SpanStrategy moved({{0, 30, 1000, 0}}, 30, 1030);
  REQUIRE_OK(rig.transformer->forward(std::span(ids).subspan(30), there, moved, Want::AllLogits, &b));
  CHECK(a != b);
  CHECK(largest_difference(a, b) < 1e-3 * 6);  // specification e.8: 1e-3 relative; logits reach 6
}

TEST(a_cancelled_pass_leaves_the_store_as_it_was) {
  const Rig rig("llama.gguf");
  REQUIRE(rig.transformer != nullptr);
  KvStore kv = rig.store();
  const auto ids = golden_tokens();
  REQUIRE_OK(rig.transformer->forward(std::span(ids).first(5), kv, DenseStrategy(), Want::Nothing, nullptr));
  std::stop_source stop;
  stop.request_stop();
  const Status status = rig.transformer->forward(std::span(ids).subspan(5), kv, DenseStrategy(), Want::Nothing, nullptr,
                                                 stop.get_token());
  CHECK(status.code() == Code::Cancelled);
  CHECK_EQ(kv.size(), 5);
}

TEST(too_little_memory_is_a_clear_error) {
  auto file = ModelFile::open(kModels / "llama.gguf");
  REQUIRE_OK(file);
  auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 100000});
  auto model = Model::load(*file, *backend);
  REQUIRE_OK(model);
  const auto transformer = Transformer::create(*model);
  CHECK(!transformer.ok() && transformer.status().code() == Code::NoMemory);
}

TEST(stories260k_tells_its_known_story) {
  const auto bytes = stories_gguf();
  if (!bytes) {
    std::printf("skipped: there is no stories260K in %s\n", shared_data().c_str());
    return;
  }
  auto backend = kernels::make_cpu_backend();
  auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size()}, "stories260K");
  REQUIRE_OK(file);
  auto model = Model::load(*file, *backend);
  REQUIRE_OK(model);
  auto tokenizer = Tokenizer::load(*file);
  REQUIRE_OK(tokenizer);
  auto transformer = Transformer::create(*model);
  REQUIRE_OK(transformer);
  KvStore kv((*model)->config(), *backend, DType::F32);
  Sampler greedy({});
  std::vector<TokenId> story;
  std::vector<float> logits;
  TokenId next = (*tokenizer)->bos();
  for (int i = 0; i < 60; ++i) {
    REQUIRE_OK((*transformer)->forward(std::span(&next, 1), kv, DenseStrategy(), Want::LastLogits, &logits));
    story.push_back(next = greedy.pick(logits));
  }
  const std::string text = (*tokenizer)->decode(story);
  const std::string known =
      " Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw "
      "a big, red ball";
  if (text.rfind(known, 0) != 0) fail(__FILE__, __LINE__, text);
}

namespace {

struct Likelihood {
  double mean = 0;    // -ln p per token of the text
  double spread = 0;  // standard deviation of the logits
};

Likelihood likelihood(const std::string& bytes, const std::vector<TokenId>& text) {
  const auto backend = kernels::make_cpu_backend();
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "stories260K");
  const auto model = file.ok() ? Model::load(*file, *backend) : Result<std::shared_ptr<const Model>>(file.status());
  if (!model.ok()) return fail(__FILE__, __LINE__, model.status().message()), Likelihood{};
  const auto transformer = Transformer::create(*model);
  KvStore kv((*model)->config(), *backend, DType::F32);
  std::vector<float> logits;
  CHECK((*transformer)->forward(text, kv, DenseStrategy(), Want::AllLogits, &logits).ok());
  Likelihood out;
  const size_t n_vocab = logits.size() / text.size();
  for (size_t t = 0; t + 1 < text.size(); ++t) {
    const auto row = std::span(logits).subspan(t * n_vocab, n_vocab);
    double sum = 0, total = 0, squares = 0;
    for (float x : row) sum += std::exp(double{x}), total += double{x}, squares += double{x} * double{x};
    const auto n = static_cast<double>(n_vocab);
    out.mean += (std::log(sum) - double{row[static_cast<size_t>(text[t + 1])]}) / static_cast<double>(text.size() - 1);
    out.spread += std::sqrt(squares / n - total / n * total / n) / static_cast<double>(text.size() - 1);
  }
  return out;
}

// What the model itself tells: 256 tokens, most likely ones.
std::vector<TokenId> own_story(const std::string& bytes) {
  const auto backend = kernels::make_cpu_backend();
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "stories260K");
  const auto model = Model::load(*file, *backend);
  const auto transformer = Transformer::create(*model);
  KvStore kv((*model)->config(), *backend, DType::F32);
  std::vector<TokenId> story = {1};
  std::vector<float> logits;
  Sampler warm({.temperature = 0.8f, .seed = 3});
  while (story.size() < 256) {
    CHECK((*transformer)->forward(std::span(&story.back(), 1), kv, DenseStrategy(), Want::LastLogits, &logits).ok());
    story.push_back(warm.pick(logits));
  }
  return story;
}

}  // namespace

TEST(quantized_weights_cost_what_their_format_implies) {
  const auto original = stories_gguf();
  if (!original) {
    std::printf("skipped: there is no stories260K in %s\n", shared_data().c_str());
    return;
  }
  const auto story = own_story(*original);
  const Likelihood exact = likelihood(*original, story);
  for (const kernels::Format& format : kernels::kFormats) {
    const DType type = format.type;
    if (type == DType::F32) continue;
    // The same rounded weights with inputs in f32, and as the engine runs them.
    const Likelihood plain = likelihood(*stories_gguf(type, true), story),
                     ours = likelihood(*stories_gguf(type), story);
    // Inputs of products are rounded: in blocks of 32, whose largest number is about 2.7 standard deviations, to 1/254
    // of that, evenly spread, 0.0061 of the deviation; to BF16, 2^-9 / sqrt 3. Products in a row (seven in each of five
    // layers and the output) add up as squares. Logits that are off by e change -ln p of a token by at most sqrt 2 e,
    // at random, and on the average by e^2 / 2; four standard errors of the mean are allowed.
    double each = type == DType::BF16 ? 0.0011 : kernels::format_of(type).values > 1 ? 0.0061 : 1e-6;
    if (type == DType::F16 && test_gpu() != nullptr) each = 0.00014;  // to halves: 2^-12 / sqrt 3
    const double e = each * 6 * plain.spread, n = static_cast<double>(story.size() - 1);
    const double bound = 4 * std::sqrt(2.0) * e / std::sqrt(n) + e * e / 2 + 1e-5;
    std::printf("  %s: perplexity %.4f, %.4f with inputs in f32 (F32 %.4f); %.2g of %.2g allowed\n",
                kernels::name_of(type), std::exp(ours.mean), std::exp(plain.mean), std::exp(exact.mean),
                std::abs(ours.mean - plain.mean), bound);
    CHECK(std::abs(ours.mean - plain.mean) <= bound);
  }
}
