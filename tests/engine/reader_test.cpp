// The reader of tests/reader, a real trained model of a million weights: it answers from manuals whose names and
// numbers it has never seen, whatever the way its evidence comes to it.
#include <algorithm>
#include <filesystem>

#include "engine/engine.h"
#include "tests/reader/world.h"
#include "tests/support/check.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

constexpr int kManuals = 3;

// Share of the answers that are right to the word, all leaves being evidence.
double right_answers(Engine& engine, const std::filesystem::path& memory, Evidence evidence) {
  int right = 0, all = 0;
  for (uint64_t i = 0; i < kManuals; ++i) {
    const reader::SyntheticManual manual =
        reader::make_manual({.leaves = 8, .facts = 5, .questions = 8, .held_out = true}, 500 + i);
    DocumentInput document = manual.document;
    document.id += std::to_string(i);
    if (evidence == Evidence::LeafKv && !engine.encode(document, memory, nullptr, {}).ok()) return -1;
    for (const reader::ManualQuestion& question : manual.questions) {
      AnswerRequest request;
      request.question = question.text;
      for (const DocumentNode& node : document.nodes)
        if (node.is_leaf) request.leaves.push_back(node.key);
      request.evidence = evidence;
      request.max_tokens = 48;
      const auto answer = engine.answer(document, memory, request, [](std::string_view) {}, nullptr, {});
      right += answer.ok() && answer->text == question.answer ? 1 : 0;
      ++all;
    }
  }
  return static_cast<double>(right) / all;
}

}  // namespace

TEST(the_reader_answers_from_text_and_from_what_is_kept_of_it) {
  const TemporaryFolder folder;
  auto engine = Engine::load(std::filesystem::path(LONGLEAF_TEST_DATA) / "models" / "reader.gguf", {});
  REQUIRE_OK(engine);
  const double exact = right_answers(**engine, folder.path(), Evidence::Exact);
  const double kept = right_answers(**engine, folder.path(), Evidence::LeafKv);
  std::printf("  exact %.0f %%, leaf_kv %.0f %% right\n", 100 * exact, 100 * kept);
  CHECK(exact >= 0.9);    // of 24 questions two may go wrong: it is right 19 times of 20
  CHECK_EQ(kept, exact);  // nothing is pruned: the same keys and values
}
