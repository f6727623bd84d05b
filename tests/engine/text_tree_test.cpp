// A document's tree in tokens: long texts are cut into pieces, and nothing of them is lost.
#include "engine/memory/text_tree.h"

#include <filesystem>
#include <string>

#include "tests/support/check.h"

using namespace longleaf;

namespace {

std::shared_ptr<const Tokenizer> words() {
  return *Tokenizer::load(*ModelFile::open(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / "reader.gguf"));
}

// A chapter with a leaf of this text, and one behind it.
DocumentInput manual(const std::string& text) {
  return {"doc", 1, "A manual", {{1, 0, false, 0, ""}, {2, 1, true, 0, text}, {3, 1, true, 0, "The cover is red."}}};
}

// Texts of nodes in reading order, with a bar between them.
std::string texts(const TextTree& tree, const Tokenizer& tokenizer) {
  std::string all;
  for (const auto& tokens : tree.tokens) {
    all += "|";
    for (const TokenId token : tokens) all += tokenizer.decode(token);
  }
  return all;
}

}  // namespace

TEST(a_long_text_becomes_pieces_of_whole_sentences_below_its_node) {
  const auto tokenizer = words();
  const DocumentInput d = manual("The pump is red. The valve is left. Keep the area clean.");
  std::vector<int64_t> keys;
  const TextTree tree = text_tree(d, *tokenizer, 12, keys);
  CHECK_EQ(texts(tree, *tokenizer), "|||The pump is red. The valve is left.| Keep the area clean.|The cover is red.");
  CHECK((tree.parents == std::vector<int>{-1, 0, 1, 1, 0}));
  CHECK((keys == std::vector<int64_t>{1, 2, 2, 2, 3}));
  for (int node = 0; node < 5; ++node) CHECK_EQ(is_piece(tree, keys, node), node == 2 || node == 3);

  keys.clear();
  CHECK_EQ(text_tree(d, *tokenizer, 100, keys).size(), size_t{3});
  for (const int64_t key : {1, 2, 3}) CHECK_EQ(keys[static_cast<size_t>(key - 1)], key);
}

TEST(pieces_are_never_longer_than_they_may_be_and_nothing_is_left_out) {
  const auto tokenizer = words();
  std::string text;
  for (int i = 0; i < 40; ++i) text += i % 7 == 0 ? "The pump is red. " : "pump valve motor ";
  text.pop_back();
  const DocumentInput d = manual(text);
  const auto whole = tokenizer->encode(text);
  for (int most = 1; most <= static_cast<int>(whole.size()); ++most) {
    std::vector<int64_t> keys;
    const TextTree tree = text_tree(d, *tokenizer, most, keys);
    std::vector<TokenId> together;
    for (size_t i = 0; i < tree.size(); ++i) {
      CHECK(static_cast<int>(tree.tokens[i].size()) <= most);
      if (keys[i] == 2) together.insert(together.end(), tree.tokens[i].begin(), tree.tokens[i].end());
    }
    CHECK(together == whole);
  }
}

TEST(a_long_sentence_is_cut_into_equal_parts_and_white_space_is_no_piece) {
  const auto tokenizer = words();
  const DocumentInput d = manual(" pump valve motor pump valve motor pump\n\n");
  std::vector<int64_t> keys;
  const TextTree tree = text_tree(d, *tokenizer, 6, keys);
  CHECK_EQ(texts(tree, *tokenizer), "||| pump valve motor pump| valve motor pump|The cover is red.");
  keys.clear();
  CHECK_EQ(texts(text_tree(manual("The pump is red.\n\n"), *tokenizer, 5, keys), *tokenizer),
           "|||The pump is red.|The cover is red.");
}

TEST(a_memory_is_never_of_more_text_than_a_model_reads_at_once) {
  CHECK_EQ(piece_length({}, 600), 597);
  CHECK_EQ(piece_length({}, 131072), 4096);
  CHECK_EQ(piece_length({.piece_tokens = 32}, 600), 32);
  CHECK_EQ(piece_length({.piece_tokens = 1000}, 600), 597);
  CHECK_EQ(piece_length({}, 2), 1);
  CHECK(piece_length({.method = MemoryMethod::Recurrent}, 600) > 1'000'000);  // which cuts texts by itself
}

TEST(documents_without_one_root_get_one) {
  const auto tokenizer = words();
  std::vector<int64_t> keys;
  const DocumentInput d{"doc", 1, "", {{7, 0, true, 0, "The pump is red. The valve is left."}, {8, 0, true, 0, "red"}}};
  const TextTree tree = text_tree(d, *tokenizer, 5, keys);
  CHECK((tree.parents == std::vector<int>{-1, 0, 1, 1, 0}));
  CHECK((keys == std::vector<int64_t>{0, 7, 7, 7, 8}));
  CHECK(!is_piece(tree, keys, 0) && !is_piece(tree, keys, 1) && is_piece(tree, keys, 3) && !is_piece(tree, keys, 4));
}
