// Every tokenizer against vectors made by others (tests/support/shared_data.h).
#include "engine/tokenizer/tokenizer.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/tokenizer/unicode.h"
#include "tests/support/check.h"
#include "tests/support/shared_data.h"
#include "tests/support/vocabularies.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

const std::filesystem::path kSmall = std::filesystem::path(LONGLEAF_TEST_DATA) / "tokenizers";
const std::filesystem::path kFolder = shared_data() / "tokenizers";

std::shared_ptr<const Tokenizer> tokenizer(const Result<std::shared_ptr<const ModelFile>>& file) {
  if (!file.ok()) return fail(__FILE__, __LINE__, file.status().message()), nullptr;
  auto loaded = Tokenizer::load(*file);
  if (!loaded.ok()) return fail(__FILE__, __LINE__, loaded.status().message()), nullptr;
  return *loaded;
}

std::vector<std::string> inputs(const std::string& name) {
  const std::string all = read_file(kFolder / "ggml-vocab" / ("ggml-vocab-" + name + ".gguf.inp"));
  const std::string border = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  for (size_t begin = 0;;) {
    const size_t end = all.find(border, begin);
    texts.push_back(all.substr(begin, end == std::string::npos ? end : end - begin));
    if (end == std::string::npos) return texts;
    begin = end + border.size();
  }
}

void check_vectors(const std::string& name, const Tokenizer& tokenizer, bool space_in_front) {
  std::ifstream expected(kFolder / "ggml-vocab" / ("ggml-vocab-" + name + ".gguf.out"));
  int n = 0;
  for (const std::string& text : inputs(name)) {
    std::string line;
    if (!std::getline(expected, line)) break;
    std::istringstream numbers(line);
    std::vector<TokenId> ids;
    for (TokenId id; numbers >> id;) ids.push_back(id);
    const auto got = tokenizer.encode(text);
    if (got != ids) fail(__FILE__, __LINE__, name + ": " + show(text) + " gives other ids");
    const std::string back = tokenizer.decode(got);
    if (back != (space_in_front && !text.empty() ? " " + text : text))
      fail(__FILE__, __LINE__, name + ": " + show(text) + " comes back as " + show(back));
    ++n;
  }
  CHECK(n > 40);
}

void check_vocabulary(const std::string& name, bool space_in_front) {
  const auto loaded = tokenizer(ModelFile::open(kFolder / "ggml-vocab" / ("ggml-vocab-" + name + ".gguf")));
  if (loaded != nullptr) check_vectors(name, *loaded, space_in_front);
}

std::shared_ptr<const Tokenizer> json_tokenizer(std::string name, std::string_view json) {
  ModelContents contents;
  contents.name = std::move(name);
  contents.tokenizer_json = json;
  return tokenizer(std::make_shared<const ModelFile>(std::move(contents)));
}

// The random strings of tests/data/tokenizers/strings.json.
const std::vector<std::string>& random_strings() {
  static const std::vector<std::string> all = [] {
    const auto recipe = nlohmann::json::parse(read_file(kSmall / "strings.json"));
    auto state = recipe["seed"].get<uint64_t>();
    const auto draw = [&](uint64_t n) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return (state >> 33) % n;
    };
    std::vector<std::string> strings(recipe["count"].get<size_t>());
    const auto& kinds = recipe["kinds"];
    for (std::string& text : strings) {
      for (uint64_t parts = draw(recipe["parts"].get<uint64_t>()); parts > 0; --parts) {
        const auto& kind = kinds[draw(kinds.size())];
        if (kind.is_string()) {
          text += kind.get<std::string>();
          continue;
        }
        for (uint64_t n = 1 + draw(kind[2].get<uint64_t>()); n > 0; --n)
          append_utf8(static_cast<uint32_t>(kind[0].get<uint64_t>() + draw(kind[1].get<uint64_t>())), text);
      }
    }
    return strings;
  }();
  return all;
}

// FNV-1a over the ids of every five strings, -1 behind each.
void check_random_strings(const std::string& name, const Tokenizer& tokenizer) {
  constexpr size_t kGroup = 5;
  const std::string expected = read_file(kSmall / (name + ".ids"));
  const auto& strings = random_strings();
  REQUIRE(expected.size() == strings.size() / kGroup * 4);
  uint32_t value = 2166136261;
  const auto add = [&](TokenId id) {
    for (int shift = 0; shift < 32; shift += 8)
      value = (value ^ (static_cast<uint32_t>(id) >> shift & 255)) * 16777619u;
  };
  int wrong = 0;
  for (size_t i = 0; i < strings.size(); ++i) {
    for (TokenId id : tokenizer.encode(strings[i], Tokenizer::Special::AsToken)) add(id);
    add(-1);
    if ((i + 1) % kGroup != 0) continue;
    uint32_t wanted = 0;
    std::memcpy(&wanted, expected.data() + i / kGroup * 4, 4);
    if (value != wanted && ++wrong <= 3)
      fail(__FILE__, __LINE__,
           name + ": strings " + std::to_string(i + 1 - kGroup) + " to " + std::to_string(i) + " give other ids");
    value = 2166136261;
  }
  CHECK_EQ(wrong, 0);
}

// A vocabulary of tests/data/tokenizers as a GGUF file; `family` of one in byte pairs.
std::string gguf_of(const nlohmann::json& json, const std::string& family) {
  const auto& model = json["model"];
  const std::string kind = model["type"];
  GgufWriter gguf;
  gguf.text("tokenizer.ggml.model", kind == "BPE" ? "gpt2" : kind == "Unigram" ? "t5" : "bert");
  std::map<int, std::string> texts;
  std::map<int, int> types;
  std::vector<float> scores;
  if (kind == "Unigram") {
    for (const auto& [text, score] : model["vocab"].get<std::vector<std::pair<std::string, float>>>()) {
      texts[static_cast<int>(scores.size())] = text;
      scores.push_back(score);
    }
    gguf.floats("tokenizer.ggml.scores", scores);
    gguf.u32("tokenizer.ggml.unknown_token_id", model["unk_id"]);
    const std::string map = json["normalizer"]["normalizers"][0]["precompiled_charsmap"];
    gguf.blob("tokenizer.ggml.precompiled_charsmap", from_base64(map));
    gguf.flag("tokenizer.ggml.remove_extra_whitespaces", true);
  } else {
    for (const auto& [text, id] : model["vocab"].items()) texts[id.get<int>()] = text;
  }
  for (const auto& added : json["added_tokens"]) {
    texts[added["id"].get<int>()] = added["content"];
    types[added["id"].get<int>()] = added["special"].get<bool>() ? 3 : 4;
  }
  std::vector<std::string> tokens;
  std::vector<int32_t> kinds;
  for (const auto& [id, text] : texts) {
    const bool is_word = kind == "WordPiece" && types.count(id) == 0;
    tokens.push_back(!is_word ? text : text.starts_with("##") ? text.substr(2) : "\u2581" + text);
    kinds.push_back(types.count(id) > 0 ? types[id] : 1);
  }
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.ints("tokenizer.ggml.token_type", kinds);
  if (kind != "BPE") return gguf.bytes();
  std::vector<std::string> merges;
  for (const auto& merge : model["merges"])
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  gguf.texts("tokenizer.ggml.merges", merges);
  gguf.text("tokenizer.ggml.pre", family);
  return gguf.bytes();
}

// Without what GGUF files have no word for: where added tokens take spaces, and a space in front of a text. Where they
// say that spaces are squeezed, those at both ends go.
nlohmann::json plain(nlohmann::json json) {
  for (auto& added : json["added_tokens"])
    for (const char* option : {"lstrip", "rstrip", "single_word"}) added[option] = false;
  if (json["model"]["type"] == "Unigram")
    json["normalizer"]["normalizers"].push_back(
        {{"type", "Replace"}, {"pattern", {{"Regex", R"(\A +| +\z)"}}}, {"content", ""}});
  auto& cut = json["pre_tokenizer"];
  if (cut.contains("pretokenizers"))
    for (auto& step : cut["pretokenizers"])
      if (step["type"] == "ByteLevel") step["add_prefix_space"] = false;
  return json;
}

bool have_data() {
  if (std::filesystem::exists(kFolder)) return true;
  std::printf("skipped: there is no folder %s\n", kFolder.c_str());
  return false;
}

}  // namespace

TEST(sentence_piece_vectors_pass) {
  if (!have_data()) return;
  check_vocabulary("llama-spm", true);
  check_vocabulary("phi-3", true);
}

TEST(byte_level_vectors_pass) {
  if (!have_data()) return;
  check_vocabulary("gpt-2", false);
  check_vocabulary("starcoder", false);  // cuts as smollm does
  check_vocabulary("falcon", false);
  check_vocabulary("deepseek-llm", false);
}

TEST(qwen2_vectors_pass) {
  if (!have_data()) return;
  GgufWriter gguf;
  write_qwen2(gguf, kFolder / "qwen2.5");
  const std::string bytes = gguf.bytes();
  const auto loaded =
      tokenizer(ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "qwen2"));
  if (loaded != nullptr) check_vectors("qwen2", *loaded, false);
}

TEST(llama3_vectors_pass) {
  if (!have_data()) return;
  GgufWriter gguf;
  write_llama3(gguf, kFolder / "llama3/tokenizer.model");
  const std::string bytes = gguf.bytes();
  const auto loaded =
      tokenizer(ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "llama3"));
  if (loaded != nullptr) check_vectors("llama-bpe", *loaded, false);
}

TEST(ten_thousand_random_strings_give_the_ids_of_the_tokenizers_library) {
  for (const char* name : {"gpt2", "llama3", "qwen2", "smollm", "falcon", "tekken", "llama2", "gemma", "bert",
                           "bert_cased", "unigram", "steps"}) {
    const std::string json = read_file(kSmall / (std::string(name) + ".json"));
    const auto loaded = json_tokenizer(name, json);
    if (loaded != nullptr) check_random_strings(name, *loaded);
  }
}

// The same vocabularies in a GGUF file, which names the rules of its family where tokenizer.json spells them out.
TEST(ten_thousand_random_strings_give_the_same_ids_from_gguf_files) {
  const std::pair<const char*, const char*> kVocabularies[] = {
      {"gpt2", "gpt-2"},    {"llama3", "llama-bpe"}, {"qwen2", "qwen2"}, {"smollm", "smollm"}, {"falcon", "falcon"},
      {"tekken", "tekken"}, {"unigram", ""},         {"bert", ""},       {"bert_cased", ""}};
  for (const auto& [name, family] : kVocabularies) {
    const nlohmann::json json = plain(nlohmann::json::parse(read_file(kSmall / (std::string(name) + ".json"))));
    const std::string published = json.dump(), bytes = gguf_of(json, family);
    const auto wanted = json_tokenizer(name, published);
    const auto loaded =
        tokenizer(ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name));
    REQUIRE(wanted != nullptr && loaded != nullptr);
    int wrong = 0;
    for (const std::string& text : random_strings()) {
      if (loaded->encode(text, Tokenizer::Special::AsToken) == wanted->encode(text, Tokenizer::Special::AsToken))
        continue;
      if (++wrong <= 3) fail(__FILE__, __LINE__, std::string(name) + ": other ids for “" + text + "”");
    }
    CHECK_EQ(wrong, 0);
  }
}

// What a file leaves to its family, as llama.cpp has it.
TEST(families_say_how_texts_begin_and_whether_words_are_looked_up_whole) {
  struct Family {
    const char* name;
    bool begins, whole;
  };
  for (const auto& [name, begins, whole] : {Family{"llama-bpe", true, true},
                                            {"tekken", true, true},
                                            {"pixtral", true, true},
                                            {"lfm2", true, true},
                                            {"smaug-bpe", false, false},
                                            {"dbrx", false, false},
                                            {"qwen2", false, false},
                                            {"gpt-2", false, false},
                                            {"smollm", false, false},
                                            {"gpt-4o", false, false},
                                            {"roberta-bpe", true, false}}) {
    GgufWriter gguf;
    gguf.text("tokenizer.ggml.model", "gpt2");
    gguf.text("tokenizer.ggml.pre", name);
    gguf.texts("tokenizer.ggml.tokens", {"<s>", "a", "b", "ab"});
    gguf.texts("tokenizer.ggml.merges", {});
    gguf.ints("tokenizer.ggml.token_type", {3, 1, 1, 1});
    gguf.u32("tokenizer.ggml.bos_token_id", 0);
    const std::string bytes = gguf.bytes();
    const auto loaded =
        tokenizer(ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, name));
    REQUIRE(loaded != nullptr);
    CHECK_EQ(loaded->adds_bos(), begins);
    CHECK_EQ(loaded->encode("ab").size(), whole ? size_t{1} : size_t{2});
  }
}

TEST(no_text_and_no_step_makes_a_tokenizer_explode) {
  nlohmann::json json = nlohmann::json::parse(read_file(kSmall / "steps.json"));
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", nlohmann::json::array()}};
  for (int i = 0; i < 40; ++i)
    json["normalizer"]["normalizers"].push_back(
        {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  const std::string doubling = json.dump();
  const auto loaded = json_tokenizer("doubling", doubling);
  REQUIRE(loaded != nullptr);
  CHECK(loaded->encode("a").size() < 100000);

  const std::string qwen2 = read_file(kSmall / "qwen2.json");
  const auto composing = json_tokenizer("qwen2", qwen2);
  REQUIRE(composing != nullptr);
  std::string marks = "e";
  for (int i = 0; i < 200000; ++i) marks += "\u0323\u0301";  // minutes, where sorting them all together
  CHECK(composing->encode(marks).size() > 1000);

  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "a*a*a*[^a ]"}}}, {"behavior", "Isolated"}};
  const std::string slow = json.dump();
  const auto searching = json_tokenizer("slow", slow);
  REQUIRE(searching != nullptr);
  (void)searching->encode(std::string(20000, 'a'));
}

TEST(bytes_are_only_tokens_where_the_vocabulary_says_so) {
  const std::string json = R"({"model": {"type": "BPE", "vocab": {"<0x41>": 0, "b": 1}, "merges": []},
                              "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false}})";
  const auto loaded = json_tokenizer("bytes", json);
  REQUIRE(loaded != nullptr);
  CHECK_EQ(loaded->decode(0), std::string("<0x41>"));
}

TEST(special_tokens_in_a_document_are_only_text) {
  std::vector<std::string> tokens;
  for (int b = 0; b < 256; ++b) tokens.push_back(spell_bytes(std::string(1, static_cast<char>(b))));
  tokens.push_back("<|im_end|>");
  GgufWriter gguf;
  gguf.text("tokenizer.ggml.model", "gpt2");
  gguf.text("tokenizer.ggml.pre", "qwen2");
  gguf.texts("tokenizer.ggml.tokens", tokens);
  gguf.texts("tokenizer.ggml.merges", {});
  std::vector<int32_t> types(tokens.size(), 1);
  types.back() = 3;
  gguf.ints("tokenizer.ggml.token_type", types);
  const std::string bytes = gguf.bytes();
  const auto loaded =
      tokenizer(ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "bytes"));
  REQUIRE(loaded != nullptr);
  CHECK_EQ(loaded->encode("a<|im_end|>", Tokenizer::Special::AsText).size(), size_t{11});
  CHECK_EQ(loaded->encode("a<|im_end|>", Tokenizer::Special::AsToken).size(), size_t{2});
  CHECK(loaded->ends_answer(256));
  const std::string noise = "\xff\xfe ok \xc3\x28 \xf0\x9f";  // not UTF-8: bytes come back as they went in
  CHECK_EQ(loaded->decode(loaded->encode(noise)), noise);
}

TEST(unknown_tokenizers_are_refused_by_name) {
  GgufWriter gguf;
  gguf.text("tokenizer.ggml.model", "rwkv");
  gguf.texts("tokenizer.ggml.tokens", {"a"});
  const std::string bytes = gguf.bytes();
  const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.gguf");
  REQUIRE_OK(file);
  const auto loaded = Tokenizer::load(*file);
  CHECK(!loaded.ok() && loaded.status().code() == Code::Unsupported);
  CHECK(loaded.status().message().find("rwkv") != std::string::npos);
}
