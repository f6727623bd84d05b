// Where sentences begin among the tokens of a text.
#include "engine/tokenizer/sentences.h"

#include <filesystem>
#include <string>

#include "tests/support/check.h"
#include "tests/support/vocabularies.h"

using namespace longleaf;

namespace {

// The text, with a bar in front of every sentence.
std::string split(const Tokenizer& tokenizer, const std::string& text) {
  const auto tokens = tokenizer.encode(text);
  const auto starts = sentence_starts(tokenizer, tokens);
  std::string parts;
  for (size_t i = 0; i < starts.size(); ++i) {
    const auto begin = static_cast<size_t>(starts[i]);
    const size_t end = i + 1 < starts.size() ? static_cast<size_t>(starts[i + 1]) : tokens.size();
    parts += "|";
    for (size_t t = begin; t < end; ++t) parts += tokenizer.decode(tokens[t]);
  }
  return parts;
}

}  // namespace

TEST(sentences_and_lines_begin_where_a_reader_sees_them_begin) {
  auto file = ModelFile::open(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / "reader.gguf");
  REQUIRE_OK(file);
  const auto words = *Tokenizer::load(*file);
  CHECK_EQ(split(*words, "Chapter 2\nThe pump is red. It is 4 metres long."),
           "|Chapter 2\n|The pump is red. |It is 4 metres long.");
  CHECK_EQ(split(*words, ""), "");
  CHECK_EQ(split(*words, "."), "|.");

  test::GgufWriter writer;  // a vocabulary of single bytes
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.push_back(test::spell_bytes({static_cast<char>(byte)}));
  test::write_bpe(writer, "qwen2", tokens, {});
  const std::string gguf = writer.bytes();
  file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
  REQUIRE_OK(file);
  const auto bytes = *Tokenizer::load(*file);
  const auto parts = [&](const std::string& text) { return split(*bytes, text); };
  CHECK_EQ(parts("Is it? It is!\n\nEnd"), "|Is it? |It is!\n\n|End");
  CHECK_EQ(parts("pump 3.5 and a.b"), "|pump 3.5 and a.b");
  CHECK_EQ(parts("He said “no.” She left. (Both.) End"), "|He said “no.” |She left. |(Both.) |End");
  CHECK_EQ(parts("泵是红的。它长四米。"), "|泵是红的。|它长四米。");
  CHECK_EQ(parts("one\ntwo"), "|one\n|two");
  CHECK_EQ(parts("one two\tthree "), "|one two\tthree ");
}
