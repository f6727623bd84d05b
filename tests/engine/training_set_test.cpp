// What a training makes of documents and questions.
#include "engine/train/training_set.h"

#include <filesystem>

#include "tests/support/check.h"

using namespace longleaf;
using namespace longleaf::train;

TEST(a_question_is_led_to_the_piece_that_has_its_answer) {
  const auto file = *ModelFile::open(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / "reader.gguf");
  const auto tokenizer = *Tokenizer::load(file);
  const ChatStyle chat = ChatStyle::of(*file);
  TrainingInput input;
  input.documents.push_back(
      {"doc",
       1,
       "A manual",
       {{1, 0, false, 0, ""},
        {2, 1, true, 0, "The Korvato is a pump. The Korvato colour is red. The Korvato mass is 120 kilograms."},
        {3, 1, true, 0, "The cover is red."},
        {4, 1, true, 0, "The Lomzon is next to the pump. The Lomzon is a pump."}}});
  const auto ask = [&](const std::string& answer, std::vector<int64_t> leaves) {
    input.questions.push_back({0, "What is it?", answer, std::move(leaves)});
  };
  ask("The Korvato mass is 120 kilograms.", {2});  // as it stands there
  ask("The Korvato colour is red. The cover is red.", {2, 3});
  ask("red", {2});
  ask("The Korvato torque is not stated.", {2});  // in none of the pieces
  ask("The cover is red.", {3});                  // a leaf without pieces
  ask("120 kilograms", {});
  ask("It is 120 kilograms, or less.", {2});  // half of it
  ask("pump", {4});                           // in two of them
  TrainingOptions options;
  options.memory.piece_tokens = 14;
  options.held_out = 0;
  const auto set = read_training_set(input, {*tokenizer, chat, 600, options}, 1, {});
  REQUIRE_OK(set);
  CHECK_EQ(set->documents[0].tree.size(), size_t{9});  // the document, three leaves, and pieces of two: three and two
  CHECK_EQ(set->leaves, size_t{3});
  REQUIRE(set->questions.size() == 8);
  const std::vector<std::vector<int>> gold = {{4}, {3, 5}, {3}, {1}, {5}, {}, {1}, {6}};
  for (size_t i = 0; i < gold.size(); ++i) CHECK(set->questions[i].gold == gold[i]);
}
