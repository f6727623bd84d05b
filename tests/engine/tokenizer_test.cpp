// Every tokenizer against vectors made by others (tests/support/shared_data.h).
#include "engine/tokenizer/tokenizer.h"

#include <sstream>

#include "tests/support/check.h"
#include "tests/support/shared_data.h"
#include "tests/support/vocabularies.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

const std::filesystem::path kFolder = shared_data() / "tokenizers";

std::shared_ptr<const Tokenizer> tokenizer(const Result<std::shared_ptr<const Gguf>>& file) {
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
  const auto loaded = tokenizer(Gguf::open(kFolder / "ggml-vocab" / ("ggml-vocab-" + name + ".gguf")));
  if (loaded != nullptr) check_vectors(name, *loaded, space_in_front);
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

TEST(gpt2_and_digit_splitting_vectors_pass) {
  if (!have_data()) return;
  check_vocabulary("gpt-2", false);
  check_vocabulary("starcoder", false);  // cuts as smollm does
}

TEST(qwen2_vectors_pass) {
  if (!have_data()) return;
  GgufWriter gguf;
  write_qwen2(gguf, kFolder / "qwen2.5");
  const std::string bytes = gguf.bytes();
  const auto loaded = tokenizer(Gguf::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "qwen2"));
  if (loaded != nullptr) check_vectors("qwen2", *loaded, false);
}

TEST(llama3_vectors_pass) {
  if (!have_data()) return;
  GgufWriter gguf;
  write_llama3(gguf, kFolder / "llama3/tokenizer.model");
  const std::string bytes = gguf.bytes();
  const auto loaded = tokenizer(Gguf::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "llama3"));
  if (loaded != nullptr) check_vectors("llama-bpe", *loaded, false);
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
  const auto loaded = tokenizer(Gguf::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "bytes"));
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
  const auto file = Gguf::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.gguf");
  REQUIRE_OK(file);
  const auto loaded = Tokenizer::load(*file);
  CHECK(!loaded.ok() && loaded.status().code() == Code::Unsupported);
  CHECK(loaded.status().message().find("rwkv") != std::string::npos);
}
