// Vectors of texts against an independent implementation (tests/data/make_models.py), and what a text becomes.
#include <cmath>
#include <cstring>

#include "engine/embedding/encoder_model.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/vocabularies.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

const std::filesystem::path kModels = std::filesystem::path(LONGLEAF_TEST_DATA) / "models";
constexpr size_t kWidth = 32, kTokens = 40;

// The mean of the rows, and the first row.
std::vector<float> golden(const std::string& name) {
  const std::string bytes = read_file(kModels / (name + ".vectors"));
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), values.size() * 4);
  return values;
}

std::vector<TokenId> golden_tokens() {
  std::vector<TokenId> ids;
  for (int i = 0; i < static_cast<int>(kTokens); ++i) ids.push_back((7 * i * i + 3 * i + 1) % 64);
  return ids;
}

void check_vector(const std::string& file, const float* expected, bool reference) {
  const auto backend = reference
                           ? kernels::make_reference_backend()
                           : kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 2, .limit_bytes = 0});
  const auto opened = ModelFile::open(kModels / file);
  REQUIRE_OK(opened);
  const auto facts = read_encoder_facts(**opened);
  REQUIRE_OK(facts);
  const auto model = EncoderModel::load(**opened, *facts, *backend, kTokens);
  REQUIRE_OK(model);
  const auto got = (*model)->run(golden_tokens(), {});
  REQUIRE_OK(got);
  // Six products of at most 48 terms in each of two layers, and five norms that divide by a spread near one: relative
  // error at most 12 * (48 + 2) and 5 * (32 + 6) units of the largest number, which is below 5.
  const double bound = (12 * 50 + 5 * 38) * 0x1p-24 * 5;
  double worst = 0;
  for (size_t i = 0; i < kWidth; ++i) worst = std::max(worst, std::abs(double{(*got)[i]} - double{expected[i]}));
  std::printf("  %s%s: %.2g of %.2g allowed\n", file.c_str(), reference ? " (reference)" : "", worst, bound);
  CHECK(worst <= bound);
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

TEST(vectors_agree_with_an_independent_implementation) {
  for (const char* name : {"bert", "roberta"}) {
    const auto expected = golden(name);
    REQUIRE(expected.size() == 2 * kWidth);
    check_vector(name, expected.data(), false);
    check_vector(name, expected.data(), true);
    if (std::string(name) == "bert") check_vector("bert.gguf", expected.data() + kWidth, false);
  }
}

TEST(a_text_gets_one_vector_of_length_one_however_long_it_is) {
  const auto embedder = Embedder::load(kModels / "bert.gguf", 1);
  REQUIRE_OK(embedder);
  std::string text;
  for (int i = 0; i < 500; ++i) text += "t" + std::to_string(3 + i % 60) + " ";
  for (const std::string& one : {std::string("t5"), std::string("t9 t8 t7"), text}) {
    const auto vector = (*embedder)->embed(one, TextRole::Passage);
    REQUIRE_OK(vector);
    CHECK(std::abs(dot(*vector, *vector) - 1) < 1e-5);
  }
  const auto nothing = (*embedder)->embed("", TextRole::Passage);
  REQUIRE_OK(nothing);
  CHECK(dot(*nothing, *nothing) == 0);
}

TEST(models_of_other_kinds_are_told_apart) {
  CHECK(is_embedder(kModels / "bert.gguf") && is_embedder(kModels / "roberta"));
  CHECK(!is_embedder(kModels / "llama.gguf") && !is_embedder("/nonexistent"));
  const auto embedder = Embedder::load(kModels / "llama.gguf");
  CHECK(embedder.status().code() == Code::Unsupported);
  CHECK(embedder.status().message().find("llama") != std::string::npos);
}

TEST(more_tokens_around_a_text_than_can_be_read_are_refused) {
  TemporaryFolder folder;
  const auto copy = folder / "bert";
  std::filesystem::copy(kModels / "bert", copy);
  auto json = nlohmann::json::parse(read_file(copy / "tokenizer.json"));
  auto& around = json["post_processor"] = {{"type", "TemplateProcessing"}};
  for (int i = 0; i < 70; ++i) around["single"].push_back({{"SpecialToken", {{"id", "t3"}}}});
  std::ofstream(copy / "tokenizer.json") << json.dump();
  const auto embedder = Embedder::load(copy, 1);
  CHECK(embedder.status().code() == Code::Corrupt);
  CHECK(embedder.status().message().find("around a text") != std::string::npos);
}

TEST(pooling_that_is_not_known_is_refused) {
  TemporaryFolder folder;
  const auto copy = folder / "bert";
  std::filesystem::copy(kModels / "bert", copy);
  std::filesystem::create_directories(copy / "1_Pooling");
  std::ofstream(copy / "1_Pooling/config.json") << R"({"pooling_mode_lasttoken": true})";
  CHECK(Embedder::load(copy, 1).status().code() == Code::Unsupported);
}

TEST(a_cancelled_vector_says_so) {
  const auto embedder = Embedder::load(kModels / "bert.gguf", 1);
  REQUIRE_OK(embedder);
  std::stop_source stop;
  stop.request_stop();
  CHECK((*embedder)->embed("t5", TextRole::Question, stop.get_token()).status().code() == Code::Cancelled);
}

TEST(a_damaged_encoder_ends_in_a_sentence_or_a_model) {
  TemporaryFolder folder;
  const std::string bytes = read_file(kModels / "bert.gguf");
  uint32_t state = 5;
  const auto draw = [&](size_t n) { return (state = state * 1664525 + 1013904223, state >> 8) % n; };
  for (int i = 0; i < 500; ++i) {
    std::string damaged = bytes;
    for (size_t flips = 1 + draw(4); flips > 0; --flips) damaged[draw(6000)] = static_cast<char>(draw(256));
    if (i % 20 == 0) damaged.resize(draw(damaged.size()));
    std::ofstream(folder / "x.gguf", std::ios::binary) << damaged;
    const auto embedder = Embedder::load(folder / "x.gguf", 1);
    if (embedder.ok())
      (void)(*embedder)->embed("t5 t6", TextRole::Passage);
    else
      CHECK(!embedder.status().message().empty());
  }
}
