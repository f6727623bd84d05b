#include "engine/model/model_file.h"

#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>

#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/transformer/transformer.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/gguf_writer.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

std::string valid_model() {
  std::ifstream file(std::string(LONGLEAF_TEST_DATA) + "/models/qwen2.gguf", std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Reads, describes and loads; the result does not matter, only that it ends with a sentence or a model.
Status try_all(const std::string& bytes) {
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "bad.gguf");
  if (!file.ok()) return file.status();
  auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 64 << 20});
  const auto tokenizer = Tokenizer::load(*file);
  const auto model = Model::load(*file, *backend);
  return model.ok() ? tokenizer.ok() ? Status() : tokenizer.status() : model.status();
}

int64_t peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

Status run_three_tokens(const std::string& bytes) {
  LL_ASSIGN_OR_RETURN(const auto file,
                      ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "bad.gguf"));
  const auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 32 << 20});
  LL_RETURN_IF_ERROR(Tokenizer::load(file).status());
  LL_ASSIGN_OR_RETURN(auto model, Model::load(file, *backend));
  LL_ASSIGN_OR_RETURN(const auto transformer, Transformer::create(model));
  KvStore store(model->config(), *backend, kernels::DType::F16);
  const std::vector<TokenId> ids = {0, model->config().n_vocab - 1, 0};
  std::vector<float> logits;
  return transformer->forward(ids, store, DenseStrategy(), Want::AllLogits, &logits);
}

// A description without weights.
Result<ModelConfig> config_of(const GgufWriter& gguf) {
  const std::string bytes = gguf.bytes();
  LL_ASSIGN_OR_RETURN(const auto file,
                      ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "model.gguf"));
  return read_model_config(*file);
}

GgufWriter description(const std::string& architecture, const std::string& without = "") {
  GgufWriter gguf;
  gguf.text("general.architecture", architecture);
  for (const auto& [key, value] : {std::pair{"block_count", 2u},
                                   {"embedding_length", 64u},
                                   {"feed_forward_length", 96u},
                                   {"attention.head_count", 4u},
                                   {"context_length", 128u},
                                   {"vocab_size", 32u}})
    if (key != without) gguf.u32(architecture + "." + key, value);
  return gguf;
}

}  // namespace

TEST(what_a_file_of_gemma_2_leaves_out_is_as_its_family_has_it) {
  const auto config = config_of(description("gemma2"));
  REQUIRE_OK(config);
  CHECK_EQ(config->attention_soft_cap, 50.0f);
  CHECK_EQ(config->logit_soft_cap, 30.0f);
  CHECK_EQ(config->layers[0].window, 4096);
  CHECK_EQ(config->layers[1].window, 0);
}

TEST(sound_files_that_cannot_be_run_are_not_called_damaged) {
  struct Case {
    std::string architecture, what;
    std::function<void(GgufWriter&)> change;
    std::string without = {};
  };
  const Case cases[] = {
      {"clip", "sees pictures", [](GgufWriter&) {}},
      {"mamba2", "mamba2", [](GgufWriter&) {}},
      {"llama", "differ in size",
       [](GgufWriter& g) {
         g.ints("llama.feed_forward_length", {96, 48});
       },
       "feed_forward_length"},
      {"llama", "different lengths", [](GgufWriter& g) { g.u32("llama.attention.value_length", 32); }},
      {"llama", "mixture of experts", [](GgufWriter& g) { g.u32("llama.expert_count", 8); }},
      {"llama", "by the method dynamic", [](GgufWriter& g) { g.text("llama.rope.scaling.type", "dynamic"); }},
  };
  for (const Case& c : cases) {
    GgufWriter gguf = description(c.architecture, c.without);
    c.change(gguf);
    const auto config = config_of(gguf);
    CHECK_EQ(static_cast<int>(config.status().code()), static_cast<int>(Code::Unsupported));
    CHECK(config.status().message().find(c.what) != std::string::npos);
    CHECK(config.status().message().find("download") == std::string::npos);
  }
  std::string swapped = description("llama").bytes();
  std::swap(swapped[4], swapped[7]);
  const Status status = try_all(swapped);
  CHECK(status.code() == Code::Unsupported && status.message().find("big-endian") != std::string::npos);
}

// Unknown formats, missing and left over weights: known before the first of them takes memory.
TEST(what_cannot_be_run_is_refused_before_it_takes_memory) {
  const auto refusal = [](uint32_t type, const char* extra) {
    GgufWriter gguf = description("llama");
    const auto add = [&](const std::string& name, std::vector<uint64_t> shape, uint32_t ggml_type = 0) {
      uint64_t n = 1;
      for (const uint64_t d : shape) n *= d;
      gguf.tensor(name, shape, ggml_type, std::string(n * 4, '\0').data(), n * 4);
    };
    add("token_embd.weight", {64, 32});
    add("output_norm.weight", {64});
    for (int i = 0; i < 2; ++i) {
      const std::string p = "blk." + std::to_string(i) + ".";
      for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) add(p + name + ".weight", {64, 64});
      for (const char* name : {"attn_norm", "ffn_norm"}) add(p + name + ".weight", {64});
      for (const char* name : {"ffn_gate", "ffn_up"}) add(p + name + ".weight", {64, 96});
      add(p + "ffn_down.weight", {96, 64}, i == 1 ? type : 0);
    }
    if (*extra != '\0') add(extra, {64});
    const std::string bytes = gguf.bytes();
    const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "model.gguf");
    if (!file.ok()) return std::pair{file.status(), size_t{0}};
    const auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 0});
    const Status status = Model::load(*file, *backend).status();
    return std::pair{status, backend->memory(backend->self).peak_bytes};
  };
  CHECK(refusal(0, "").first.ok() && refusal(0, "v.patch_embd.weight").first.ok() &&
        refusal(0, "blk.0.attn_rot_embd.weight").second > 0);
  for (const auto& [type, extra, what] :
       {std::tuple{16u, "", "IQ2_XXS"}, std::tuple{0u, "blk.1.ffn_sub_norm.weight", "ffn_sub_norm"},
        std::tuple{0u, "blk.1.attn_output.bias", "attn_output.bias"}}) {
    const auto [status, peak] = refusal(type, extra);
    CHECK_EQ(static_cast<int>(status.code()), static_cast<int>(Code::Unsupported));
    CHECK(status.message().find(what) != std::string::npos);
    CHECK_EQ(peak, size_t{0});
  }
}

TEST(a_whole_file_loads) {
  const std::string bytes = valid_model();
  REQUIRE(bytes.size() > 1000);
  REQUIRE_OK(try_all(bytes));
}

TEST(every_truncation_is_refused) {
  const std::string bytes = valid_model();
  for (size_t n = 0; n < bytes.size(); n += n < 6000 ? 1 : 997) {
    const Status status = try_all(bytes.substr(0, n));
    CHECK(!status.ok() && !status.message().empty());
  }
}

TEST(damaged_files_end_in_a_sentence_or_a_model) {
  const std::string bytes = valid_model();
  std::mt19937 random(11);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = bytes;
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips)
      damaged[random() % 6000] = static_cast<char>(random());
    const Status status = try_all(damaged);
    CHECK(status.ok() || !status.message().empty());
  }
}

// Of every architecture, damaged in the description or anywhere, and run where it can be loaded.
TEST(two_thousand_damaged_models_end_in_a_sentence_or_run_and_take_no_more_memory_than_they_have_reason_to) {
  std::vector<std::filesystem::path> models;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(LONGLEAF_TEST_DATA) + "/models"))
    if (entry.path().extension() == ".gguf" && entry.file_size() < (1 << 20)) models.push_back(entry.path());
  std::sort(models.begin(), models.end());
  REQUIRE(models.size() >= 14);
  const int each = 2000 / static_cast<int>(models.size()) + 1;
  std::mt19937 random(12);
  int ran = 0;
  const int64_t before = peak_bytes();
  for (const auto& path : models) {
    std::ifstream stream(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
    for (int i = 0; i < each; ++i) {
      std::string damaged = bytes;
      for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips)
        damaged[random() % (i % 2 == 0 ? 4000 : bytes.size())] = static_cast<char>(random());
      const Status status = run_three_tokens(damaged);
      CHECK(status.ok() || !status.message().empty());
      ran += status.ok() ? 1 : 0;
    }
  }
  std::printf("  %d of %zu ran; the peak rose by %lld KiB\n", ran, models.size() * static_cast<size_t>(each),
              static_cast<long long>((peak_bytes() - before) >> 10));
  CHECK(ran > 500);                                    // weights may be anything
#ifndef __SANITIZE_ADDRESS__                           // which keeps what was freed
  CHECK(peak_bytes() - before < (int64_t{96} << 20));  // the device's limit, and files of 100 KB
#endif
}

TEST(lengths_beyond_the_file_are_not_allocated) {
  std::string bytes = valid_model();
  for (size_t i = 8; i < 24; ++i) bytes[i] = static_cast<char>(0xff);  // 2^64-1 tensors and values
  const Status status = try_all(bytes);
  CHECK(status.code() == Code::Corrupt);
}

TEST(a_missing_file_and_a_folder_say_what_they_are) {
  CHECK(ModelFile::open("/nonexistent/model.gguf").status().code() == Code::NotFound);
  CHECK(ModelFile::open("/tmp").status().code() == Code::NotFound);
  CHECK(try_all("GIF89a.................").message().find("not a GGUF") != std::string::npos);
}
