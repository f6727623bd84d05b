// Models that are more than one file: split GGUF files and safetensors folders, whole, incomplete and damaged.
#include <cmath>
#include <cstring>
#include <functional>
#include <random>

#include "engine/engine.h"
#include "engine/model/model.h"
#include "engine/model/safetensors.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/vocabularies.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

namespace fs = std::filesystem;
const fs::path kModels = fs::path(LONGLEAF_TEST_DATA) / "models";

Status try_all(const fs::path& path) {
  const auto file = ModelFile::open(path);
  if (!file.ok()) return file.status();
  const auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 64 << 20});
  const auto tokenizer = Tokenizer::load(*file);
  const auto model = Model::load(*file, *backend);
  return model.ok() ? tokenizer.ok() ? Status() : tokenizer.status() : model.status();
}

void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

// A copy of a folder of tests/data/models, to be damaged.
struct Copy {
  TemporaryFolder temporary;
  fs::path folder;
  explicit Copy(const std::string& name) : folder(temporary.path() / name) { fs::copy(kModels / name, folder); }
  void change(const std::string& file, const std::function<void(nlohmann::json&)>& how) const {
    auto json = nlohmann::json::parse(read_file(folder / file));
    how(json);
    write(folder / file, json.dump());
  }
};

void check_refused(const Status& status, Code code, const std::string& part) {
  CHECK(status.code() == code);
  if (status.message().find(part) == std::string::npos)
    fail(__FILE__, __LINE__, "“" + status.message() + "” does not say “" + part + "”");
}

// Resident kilobytes of a file that is mapped into this process.
int64_t resident_kilobytes(const fs::path& file) {
  std::ifstream maps("/proc/self/smaps");
  bool inside = false;
  int64_t sum = 0;
  for (std::string line; std::getline(maps, line);) {
    if (line.find('-') < line.find(' ')) inside = line.ends_with(file.filename().string());
    if (inside && line.starts_with("Rss:")) sum += std::atoll(line.c_str() + 4);
  }
  return sum;
}

}  // namespace

TEST(a_loaded_model_lets_go_of_its_files_pages) {
  const auto file = ModelFile::open(kModels / "gemma2.gguf");
  REQUIRE_OK(file);
  const auto backend = kernels::make_cpu_backend();
  if (!std::ifstream("/proc/self/smaps")) return;  // no Linux
  CHECK(resident_kilobytes("gemma2.gguf") > 0);
  const auto model = Model::load(*file, *backend);
  REQUIRE_OK(model);
  CHECK_EQ(resident_kilobytes("gemma2.gguf"), 0);
}

TEST(every_file_of_a_folder_names_its_model) {
  for (const char* name : {"", "model-00002-of-00005.safetensors", "model.safetensors.index.json"})
    CHECK(try_all(kModels / "llama" / name).ok());
}

TEST(any_part_of_a_split_model_opens_the_whole) {
  for (int part = 1; part <= 3; ++part)
    CHECK(try_all(kModels / ("split-0000" + std::to_string(part) + "-of-00003.gguf")).ok());
}

TEST(a_missing_part_is_named) {
  TemporaryFolder temporary;
  for (const char* part : {"split-00001-of-00003.gguf", "split-00003-of-00003.gguf"})
    fs::copy(kModels / part, temporary.path() / part);
  check_refused(try_all(temporary.path() / "split-00003-of-00003.gguf"), Code::NotFound, "split-00002-of-00003.gguf");
  fs::copy(kModels / "llama.gguf", temporary.path() / "split-00002-of-00003.gguf");
  check_refused(try_all(temporary.path() / "split-00001-of-00003.gguf"), Code::Corrupt, "do not belong together");
}

TEST(missing_files_of_a_folder_are_named) {
  for (const char* file : {"config.json", "tokenizer.json", "model-00003-of-00005.safetensors"}) {
    const Copy copy("llama");
    fs::remove(copy.folder / file);
    check_refused(try_all(copy.folder), Code::NotFound, file);
  }
  TemporaryFolder empty;
  check_refused(try_all(empty.path()), Code::NotFound, "model.safetensors");
}

TEST(an_index_cannot_lead_out_of_its_folder) {
  const Copy copy("llama");
  copy.change("model.safetensors.index.json",
              [](auto& json) { json["weight_map"]["lm_head.weight"] = "../../../etc/passwd"; });
  check_refused(try_all(copy.folder), Code::Corrupt, "lm_head.weight");
}

TEST(an_index_without_a_map_and_a_file_of_another_model_are_refused) {
  const Copy copy("llama");
  copy.change("model.safetensors.index.json", [](auto& json) { json["weight_map"] = {1}; });
  check_refused(try_all(copy.folder), Code::Corrupt, "weight_map");
  const Copy other("qwen2");
  write(other.folder / "foo.safetensors", "junk");
  check_refused(try_all(other.folder / "foo.safetensors"), Code::Invalid, "foo.safetensors");
  check_refused(try_all(other.folder / "none.safetensors"), Code::NotFound, "none.safetensors");
}

TEST(a_model_in_a_hubs_cache_has_the_name_it_has_there) {
  TemporaryFolder temporary;
  const fs::path folder = temporary.path() / "models--intfloat--e5-small/snapshots/0123abcd";
  fs::create_directories(folder.parent_path());
  fs::copy(kModels / "qwen2", folder);
  const auto file = ModelFile::open(folder);
  REQUIRE_OK(file);
  CHECK_EQ((*file)->name(), std::string("e5-small"));
}

TEST(tensors_that_claim_the_same_bytes_are_refused) {
  std::string header = "{";
  for (int i = 0; i < 100; ++i)
    header += (i > 0 ? ",\"" : "\"") + std::to_string(i) + R"(":{"dtype":"F32","shape":[100],"data_offsets":[1,401]})";
  header += "}";
  const uint64_t length = header.size();
  std::string bytes(reinterpret_cast<const char*>(&length), 8);
  bytes += header + std::string(401, 'x');
  ModelContents contents;
  CHECK(read_safetensors({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x", contents).code() ==
        Code::Corrupt);
}

TEST(settings_that_are_left_out_are_those_of_the_library) {
  const Copy copy("gemma3");
  copy.change("config.json", [](auto& json) {
    for (const char* key : {"rms_norm_eps", "rope_parameters", "max_position_embeddings", "query_pre_attn_scalar"})
      json.erase(key);
  });
  const auto file = ModelFile::open(copy.folder);
  REQUIRE_OK(file);
  const auto config = read_model_config(**file);
  REQUIRE_OK(config);
  CHECK(config->norm_eps == 1e-6f && config->context_tokens == 131072 && config->attention_scale == 1.0f / 16);
  CHECK(config->rope_inv_freq.size() == 8 && std::abs(config->rope_inv_freq[4] - 1e-3f) < 1e-8f);
}

TEST(a_token_beyond_the_table_of_embeddings_is_refused) {
  for (const char* change : {"vocab", "added"}) {
    const Copy copy("llama");
    copy.change("tokenizer.json", [&](auto& json) {
      if (std::string(change) == "vocab")
        json["model"]["vocab"]["t64"] = 64;
      else
        json["added_tokens"] = {{{"id", 64}, {"content", "<pad>"}, {"special", true}}};
    });
    check_refused(try_all(copy.folder), Code::Corrupt, "table of embeddings");
  }
}

TEST(an_added_token_cannot_take_the_number_of_another) {
  const Copy copy("llama");
  copy.change("tokenizer.json", [&](auto& json) {
    json["added_tokens"] = {{{"id", 3}, {"content", "x"}, {"special", false}}};
  });
  check_refused(try_all(copy.folder), Code::Corrupt, "number of another");
}

TEST(what_cannot_be_run_is_refused_by_its_name) {
  struct Change {
    const char* model;
    const char* what;  // in the message
    std::function<void(nlohmann::json&)> how;
  };
  const Change changes[] = {
      {"llama", "mamba", [](auto& json) { json["model_type"] = "mamba"; }},
      {"llama", "gptq", [](auto& json) { json["quantization_config"]["quant_method"] = "gptq"; }},
      {"llama", "relu", [](auto& json) { json["hidden_act"] = "relu"; }},
      {"llama", "dynamic", [](auto& json) { json["rope_parameters"]["rope_type"] = "dynamic"; }},
      {"qwen3_yarn", "whole pairs", [](auto& json) { json["rope_parameters"]["truncate"] = false; }},
      {"qwen3moe", "sum one", [](auto& json) { json["norm_topk_prob"] = false; }},
      {"qwen3moe", "without experts", [](auto& json) { json["mlp_only_layers"] = {0}; }},
      {"gemma3", "without a period", [](auto& json) { json["layer_types"][3] = "full_attention"; }},
      {"smollm3", "unusual layers",
       [](auto& json) {
         json["no_rope_layers"] = {0, 1, 1, 1};
       }},
  };
  for (const Change& change : changes) {
    const Copy copy(change.model);
    copy.change("config.json", change.how);
    check_refused(try_all(copy.folder), Code::Unsupported, change.what);
  }
}

TEST(settings_that_cannot_be_end_in_a_sentence) {
  const Copy original("gemma3");
  const auto config = nlohmann::json::parse(read_file(original.folder / "config.json"));
  for (auto it = config.begin(); it != config.end(); ++it) {
    for (const auto& value : {nlohmann::json(), nlohmann::json(-1), nlohmann::json(1e300), nlohmann::json("x"),
                              nlohmann::json::array({nlohmann::json()}), nlohmann::json(INT64_MAX)}) {
      auto changed = config;
      changed[it.key()] = value;
      write(original.folder / "config.json", changed.dump());
      const Status status = try_all(original.folder);
      CHECK(status.ok() || !status.message().empty());
    }
  }
}

TEST(a_cut_or_damaged_safetensors_file_ends_in_a_sentence_or_a_model) {
  const Copy copy("qwen3");
  const fs::path weights = copy.folder / "model.safetensors";
  const std::string bytes = read_file(weights);
  for (size_t n = 0; n < bytes.size(); n += n < 4000 ? 61 : 2999) {
    write(weights, bytes.substr(0, n));
    const Status status = try_all(copy.folder);
    CHECK(!status.ok() && !status.message().empty());
  }
  std::mt19937 random(12);
  for (int i = 0; i < 1000; ++i) {
    std::string damaged = bytes;
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips)
      damaged[random() % 3000] = static_cast<char>(random());
    write(weights, damaged);
    const Status status = try_all(copy.folder);
    CHECK(status.ok() || !status.message().empty());
  }
}

TEST(a_damaged_tokenizer_ends_in_a_sentence_or_a_tokenizer) {
  std::mt19937 random(13);
  for (const char* name : {"llama2", "steps", "unigram", "bert"}) {
    const std::string bytes = read_file(kModels / "../tokenizers" / (std::string(name) + ".json"));
    for (int i = 0; i < 300; ++i) {
      std::string damaged = bytes;
      for (int flips = 1 + static_cast<int>(random() % 3); flips > 0; --flips)
        damaged[random() % damaged.size()] = static_cast<char>(' ' + random() % 95);
      if (i % 10 == 0) damaged.resize(random() % damaged.size());
      ModelContents contents;
      contents.name = name;
      if (damaged.empty()) damaged = "x";
      contents.tokenizer_json = damaged;
      const auto loaded = Tokenizer::load(std::make_shared<const ModelFile>(std::move(contents)));
      if (loaded.ok())
        (void)(*loaded)->encode("A text, with [MASK] and <s> and caf\u00e9.\n");
      else
        CHECK(!loaded.status().message().empty());
    }
  }
}

TEST(numbers_that_stand_at_odd_places_are_read) {
  const float value = 1.5f;
  std::string header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} )";
  for (size_t length = header.size(); length < header.size() + 4; ++length) {
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    bytes += header + std::string(length - header.size(), ' ');
    bytes.append(reinterpret_cast<const char*>(&value), 4);
    ModelContents contents;
    REQUIRE(read_safetensors({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x", contents).ok());
    const auto& data = contents.tensors.at("a").data;
    CHECK(data.size() == 4 && std::memcmp(data.data(), &value, 4) == 0);
    CHECK(reinterpret_cast<uintptr_t>(data.data()) % 4 == 0);
  }
}

// The system's answer to reading a page that is not there ends a program, unless it is caught.
TEST(a_file_that_is_cut_short_while_it_is_open_ends_a_request_and_not_the_program) {
  const TemporaryFolder folder;
  const fs::path path = folder / "reader.gguf", whole = kModels / "reader.gguf";
  const auto cut = [&] { fs::resize_file(path, 4096); };
  const auto mend = [&] { fs::copy_file(whole, path, fs::copy_options::overwrite_existing); };
  mend();
  auto engine = Engine::load(path, {});
  REQUIRE_OK(engine);
  const DocumentInput document{
      "d", 1, "Manual", {{1, 0, false, 0, ""}, {2, 1, true, 9, "The pump delivers 149 litres."}}};
  AnswerRequest request;
  request.question = "What does the pump deliver?";
  request.leaves = {2};
  request.evidence = Evidence::Exact;
  request.max_tokens = 4;
  const auto ask = [&] {
    return (*engine)->answer(document, folder.path(), request, [](std::string_view) {}, nullptr, {});
  };
  const auto before = ask();
  REQUIRE_OK(before);
  cut();
  const auto during = ask();
  CHECK_EQ(static_cast<int>(during.status().code()), static_cast<int>(Code::Io));
  CHECK(during.status().message().find("reader.gguf cannot be read any more") != std::string::npos);
  const auto after = ask();  // the file is opened again, and is what it is
  CHECK_EQ(static_cast<int>(after.status().code()), static_cast<int>(Code::Corrupt));
  mend();
  const auto mended = ask();
  REQUIRE_OK(mended);
  CHECK(mended->text == before->text);

  // Another model in its place is not run with the sizes of the one that was there.
  cut();
  CHECK(!ask().ok());
  fs::copy_file(kModels / "qwen2.gguf", path, fs::copy_options::overwrite_existing);
  const auto replaced = ask();
  CHECK_EQ(static_cast<int>(replaced.status().code()), static_cast<int>(Code::Invalid));
  CHECK(replaced.status().message().find("replaced by another one") != std::string::npos);
  mend();
  CHECK(ask().ok());

  const auto file = ModelFile::open(path);
  REQUIRE_OK(file);
  cut();
  const auto backend = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 0});
  CHECK_EQ(static_cast<int>(Model::load(*file, *backend).status().code()), static_cast<int>(Code::Io));
}
