#include "app/asking.h"

#include "app/places.h"
#include "engine/base/files.h"
#include "ingest/library/importer.h"
#include "ingest/library/node_vectors.h"
#include "tests/reader/world.h"
#include "tests/support/check.h"
#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

struct Rig {
  TemporaryFolder folder;
  std::unique_ptr<Library> library;
  DocumentRow document;
  std::unique_ptr<Engine> engine;

  explicit Rig(bool with_model, int pages = 12) {
    manual({.pages = pages, .outline = true, .salt = 0}).save((folder / "m.pdf").string());
    library = std::move(*Library::open(folder / "lib"));
    ImportOptions options;
    options.reader.worker = program("longleaf-pdf");
    auto report = import_document(*library, folder / "m.pdf", options);
    if (!report.ok()) {
      fail(__FILE__, __LINE__, report.status().message());
      return;
    }
    document = report->document;
    if (!with_model) return;
    std::ofstream(folder / "model.gguf", std::ios::binary) << random_model_gguf({});
    engine = std::move(*Engine::load(folder / "model.gguf", {}));
  }
  Result<Asked> ask(const std::string& question, AskOptions options = {}) {
    options.max_tokens = 12;
    return Asking(*library, engine.get()).ask(document, question, options, {}, {});
  }
};

}  // namespace

TEST(a_quote_answers_with_the_right_sentence_page_and_boxes) {
  Rig rig(false);
  const auto asked = rig.ask("How many litres per minute does pump number 7 deliver?");
  REQUIRE_OK(asked);
  CHECK(asked->found && asked->evidence == Evidence::Quote);
  REQUIRE(!asked->citations.empty());
  CHECK_EQ(asked->citations[0].quote, page_fact(7));
  CHECK_EQ(asked->citations[0].page, 7);
  REQUIRE(!asked->citations[0].boxes.empty());
  const Box& box = asked->citations[0].boxes[0];
  CHECK(box.y0 > 0.15f && box.y1 < 0.20f && box.x0 > 0.1f);  // the baseline stands at 150 of 842 points
  size_t kept = 0;
  for (const auto& visited : asked->route.trace) kept += visited.kept ? 1 : 0;
  CHECK(kept >= 2 && kept < asked->route.trace.size());
}

// What the reader of the tests' data is trained on is what the program gives it to read.
TEST(synthetic_manuals_are_read_as_their_maker_says) {
  const TemporaryFolder folder;
  const reader::SyntheticManual manual = reader::make_manual({.leaves = 12}, 3);
  REQUIRE_OK(write_file(folder / "manual.md", manual.markdown));
  auto library = std::move(*Library::open(folder / "lib"));
  ImportOptions options;
  options.reader.worker = program("longleaf-pdf");
  const auto report = import_document(*library, folder / "manual.md", options);
  REQUIRE_OK(report);
  CHECK_EQ(report->document.title, manual.document.title);
  Asking asking(*library, nullptr);
  const auto input = asking.input(report->document);
  REQUIRE_OK(input);
  const auto &read = (*input)->nodes, &made = manual.document.nodes;
  REQUIRE(read.size() == made.size());
  const int64_t offset = read[0].key - made[0].key;
  for (size_t i = 0; i < made.size(); ++i) {
    CHECK_EQ(read[i].text, made[i].text);
    CHECK_EQ(read[i].is_leaf, made[i].is_leaf);
    CHECK_EQ(read[i].parent, made[i].parent == 0 ? 0 : made[i].parent + offset);
  }
}

TEST(a_question_the_document_does_not_answer_is_told_so) {
  Rig rig(false);
  for (const char* question : {"Who won the football world cup?", "xyzzy",
                               "What is the colour of pump happiness in Antarctica during storms?"}) {
    const auto asked = rig.ask(question);
    REQUIRE_OK(asked);
    CHECK(!asked->found);
    CHECK(asked->answer.rfind("Nothing in this document answers", 0) == 0);
    CHECK(asked->citations.empty());
  }
  CHECK(rig.ask("   ").status().code() == Code::Invalid);
}

TEST(the_closest_sections_are_named) {
  Rig rig(false);
  const auto asked = rig.ask("Which pumps explode beneath submarine volcanoes near Iceland?");
  REQUIRE_OK(asked);
  CHECK(!asked->found);
  CHECK(asked->answer.find("closest sections") != std::string::npos &&
        asked->answer.find("of the pumps") != std::string::npos);
}

TEST(every_evidence_answers_or_says_what_it_needs) {
  Rig rig(true);
  const std::string question = "How many litres per minute does pump number 7 deliver?";
  AskOptions options;
  options.evidence = Evidence::LeafKv;
  CHECK(rig.ask(question, options).status().message().find("encode") != std::string::npos);
  options.evidence = Evidence::MemoryTokens;
  CHECK(rig.ask(question, options).status().message().find("adapter") != std::string::npos);
  Asking asking(*rig.library, rig.engine.get());
  const auto input = asking.input(rig.document);
  REQUIRE_OK(input);
  REQUIRE_OK(rig.engine->encode(**input, memoryFolder(rig.library->folder()), nullptr, {}));
  std::string exact;
  for (auto evidence : {Evidence::Exact, Evidence::LeafKv, Evidence::Auto, Evidence::Quote}) {
    options.evidence = evidence;
    const auto asked = rig.ask(question, options);
    REQUIRE_OK(asked);
    CHECK(asked->found && !asked->answer.empty());
    CHECK(evidence == Evidence::Auto || asked->evidence == evidence);
  }
  const auto plain = asking.findRoute(rig.document, question, RouteMethod::Flat, 0, {});
  const auto again = asking.findRoute(rig.document, question, RouteMethod::Flat, 4, {});
  REQUIRE_OK(plain);
  REQUIRE_OK(again);
  CHECK_EQ(again->leaves.size(), plain->leaves.size());
  CHECK_EQ(again->leaves[5].node, plain->leaves[5].node);  // only the first four may move
  for (size_t i = 1; i < again->leaves.size(); ++i) CHECK(again->leaves[i - 1].score >= again->leaves[i].score);
  Rig without(false);
  options.evidence = Evidence::Exact;
  CHECK(without.ask(question, options).status().message().find("needs a model") != std::string::npos);
}

TEST(a_document_that_was_deleted_and_read_again_is_answered) {
  Rig rig(true);
  Asking asking(*rig.library, rig.engine.get());
  AskOptions options;
  options.max_tokens = 4;
  const std::string question = "How many litres per minute does pump number 7 deliver?";
  REQUIRE_OK(asking.ask(rig.document, question, options, {}, {}));
  manual({.pages = 5, .outline = true, .salt = 9}).save((rig.folder / "other.pdf").string());
  ImportOptions import_options;
  import_options.reader.worker = program("longleaf-pdf");
  REQUIRE_OK(import_document(*rig.library, rig.folder / "other.pdf", import_options));
  REQUIRE_OK(rig.library->remove(rig.document.key));
  const auto again = import_document(*rig.library, rig.folder / "m.pdf", import_options);
  REQUIRE_OK(again);
  CHECK(again->document.key != rig.document.key);
  const auto asked = asking.ask(again->document, question, options, {}, {});
  REQUIRE_OK(asked);
  CHECK(asked->found && asked->stats.evidence_tokens > 0);
}

TEST(sentences_that_a_random_model_babbles_are_marked_as_unsupported) {
  Rig rig(true);
  AskOptions options;
  options.evidence = Evidence::Exact;
  const auto asked = rig.ask("How many litres per minute does pump number 7 deliver?", options);
  REQUIRE_OK(asked);
  for (const auto& citation : asked->citations) CHECK(!citation.supported);
}

TEST(pruned_leaves_are_not_evidence) {
  Rig rig(true, 30);
  AskOptions options;
  options.evidence = Evidence::Exact;
  options.evidence_tokens = 500;  // of bytes, for this model: one leaf
  const auto asked = rig.ask("How many litres per minute does pump number 7 deliver?", options);
  REQUIRE_OK(asked);
  CHECK(asked->stats.evidence_tokens > 0 && asked->stats.evidence_tokens <= 500);
  CHECK(asked->stats.prefill_tokens < 1100);
}

TEST(a_document_that_was_made_anew_is_read_anew) {
  Rig rig(false);
  const auto embedder = Embedder::load(LONGLEAF_TEST_DATA "/models/bert.gguf", 1);
  REQUIRE_OK(embedder);
  Asking asking(*rig.library, nullptr, embedder->get());
  REQUIRE_OK(asking.readMeaning(rig.document, {}));
  const auto before = leaf_vectors(*rig.library, rig.document.key, (*embedder)->fingerprint());
  REQUIRE_OK(before);
  CHECK(before->size() > 5);
  // What text recognition does: the same document, and leaf keys, with other texts.
  const int64_t leaf = before->begin()->first;
  REQUIRE_OK(rig.library->database().run("UPDATE leaf_text SET body = 't3 t4 t5 litres' WHERE key = ?", {leaf}));
  REQUIRE_OK(rig.library->database().run("DELETE FROM node_vectors WHERE node = ?", {leaf}));
  const auto input = asking.input(rig.document);
  REQUIRE_OK(input);
  bool seen = false;
  for (const DocumentNode& node : (*input)->nodes) seen = seen || node.text.find("t3 t4 t5") != std::string::npos;
  CHECK(seen);
  REQUIRE_OK(asking.readMeaning(rig.document, {}));
  const auto after = leaf_vectors(*rig.library, rig.document.key, (*embedder)->fingerprint());
  REQUIRE_OK(after);
  CHECK(after->size() == before->size() && after->at(leaf) != before->at(leaf));
}

TEST(meaning_is_not_kept_for_a_text_that_changed_while_it_was_read) {
  Rig rig(false);
  const auto embedder = Embedder::load(LONGLEAF_TEST_DATA "/models/bert.gguf", 1);
  REQUIRE_OK(embedder);
  Asking asking(*rig.library, nullptr, embedder->get());
  bool changed = false;
  asking.onReading([&](size_t done, size_t) {
    if (done == 3 && !std::exchange(changed, true))
      CHECK(rig.library->database().run("UPDATE leaf_text SET body = body || ' more'").ok());
  });
  const Status status = asking.readMeaning(rig.document, {});
  CHECK(status.code() == Code::Invalid && status.message().find("ask again") != std::string::npos);
  CHECK(leaf_vectors(*rig.library, rig.document.key, (*embedder)->fingerprint())->empty());
  CHECK(asking.readMeaning(rig.document, {}).ok());
}
