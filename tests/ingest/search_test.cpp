#include "ingest/library/search.h"

#include <fstream>

#include "ingest/library/derived_figures.h"
#include "ingest/library/lexical_index.h"
#include "tests/support/check.h"
#include "tests/support/import_rig.h"

using namespace longleaf;
using namespace longleaf::test;

TEST(search_finds_words_with_their_boxes) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, save(folder), options());
  REQUIRE_OK(report);
  const auto hits = search(**library, report->document.key, "\"number 4\" deliver", 10);
  REQUIRE_OK(hits);
  REQUIRE(hits->size() == 1);
  CHECK_EQ(hits->at(0).page, 4);
  CHECK_EQ(hits->at(0).boxes.size(), size_t{2});  // the phrase in one, "delivers" in another
  CHECK(hits->at(0).snippet.find("**delivers**") != std::string::npos);
  CHECK(search(**library, report->document.key, "unicorn", 10)->empty());
  for (const char* odd : {"\"", "a OR", "NEAR(", "* ) (", "'; DROP TABLE nodes; --"}) {  // words, never syntax
    const auto found = search(**library, report->document.key, odd, 10);
    CHECK(found.ok() || found.status().code() == Code::Invalid);
  }
  const auto index = LexicalIndex::build(**library, report->document.key);
  REQUIRE_OK(index);
  const auto scores = index->scores("How many litres does pump number 3 deliver?");
  REQUIRE(!scores.empty());
  const auto best = (*library)->leaf_text(scores.at(0).leaf);
  CHECK(best->find(page_fact(3)) != std::string::npos);
}

TEST(search_knows_diacritics_beginnings_phrases_and_scripts_without_spaces) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  std::ofstream(folder / "words.md") << "# Words\n\nThe Café serves crème brûlée; no brulee elsewhere.\n\n"
                                        "東京都は日本の首都です。京都ではありません。\n\nมหาวิทยาลัยเชียงใหม่\n";
  const auto report = import_document(**library, folder / "words.md", options());
  REQUIRE_OK(report);
  const auto boxes = [&](std::string_view words) {
    const auto hits = search(**library, report->document.key, words, 10);
    return hits.ok() && hits->size() == 1 ? hits->at(0).boxes.size() : 0;
  };
  CHECK_EQ(boxes("cafe"), size_t{1});
  CHECK_EQ(boxes("CRÈME"), size_t{1});
  CHECK_EQ(boxes("brulee"), size_t{2});
  CHECK_EQ(boxes("elsewh"), size_t{1});
  CHECK_EQ(boxes("\"creme brulee\""), size_t{1});  // the phrase, not the other brulee
  CHECK_EQ(boxes("\"brulee creme\""), size_t{0});
  CHECK_EQ(boxes("\"elsewhere 東京\""), size_t{1});  // over the end of a block: its end
  CHECK_EQ(boxes("日本"), size_t{1});
  CHECK_EQ(boxes("京都"), size_t{2});
  CHECK_EQ(boxes("本日"), size_t{0});
  CHECK_EQ(boxes("เชียงใหม่"), size_t{1});
}

TEST(the_beginning_of_a_word_is_found_beyond_its_stem) {
  TemporaryFolder folder;
  std::ofstream(folder / "a.md") << "# Pipes\n\nThe connection of organizations takes time, as § 433 says.\n";
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, folder / "a.md", options());
  REQUIRE_OK(report);
  for (const char* typed : {"connectio", "organiza", "connections", "connected", "connect organizat"})
    CHECK_EQ(search(**library, report->document.key, typed, 10)->size(), size_t{1});
  CHECK(search(**library, report->document.key, "connectiv", 10)->empty());
  for (const char* marks : {"§ 433", "\"as § 433\"", "connection → time"})  // the index has no marks
    CHECK_EQ(search(**library, report->document.key, marks, 10)->size(), size_t{1});
}

TEST(a_question_is_ranked_by_what_it_asks_for_not_by_the_form_of_the_answer) {
  CHECK_EQ(without_instructions("What is the rate? Round your answer to two decimals."),
           std::string("what is the rate"));
  CHECK_EQ(without_instructions("Which round table?"), std::string("which round table"));
  CHECK_EQ(without_instructions("Give me an integer."), std::string("Give me an integer."));  // nothing else is left
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, save(folder, {.pages = 8, .outline = true, .salt = 1}), options());
  REQUIRE_OK(report);
  const auto index = LexicalIndex::build(**library, report->document.key);
  REQUIRE_OK(index);
  const auto scores = index->scores("What does page 5 say?");
  REQUIRE(!scores.empty());
  CHECK((*library)->leaf_text(scores[0].leaf)->find(page_fact(4)) != std::string::npos);
  CHECK(index->scores("unicorn").empty());
}

TEST(a_ratio_is_looked_for_in_the_figures_it_follows_from) {
  CHECK(figures_behind("What was the Return on Assets in 2021?") ==
        (std::vector<std::string>{"net income", "total assets"}));
  CHECK(figures_behind("What do the quick connectors weigh, and what is their ratio?").empty());
  TemporaryFolder folder;
  std::ofstream(folder / "report.md")
      << "# Report\n\n## Outlook\n\nA quick look at the ratio of orders.\n\n"
         "## Balance sheet\n\nTotal current assets 310\n\nTotal current liabilities 200\n";
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, folder / "report.md", options());
  REQUIRE_OK(report);
  const auto index = LexicalIndex::build(**library, report->document.key);
  REQUIRE_OK(index);
  const auto scores = index->scores("What is the working capital?");
  REQUIRE(!scores.empty());
  CHECK((*library)->leaf_text(scores[0].leaf)->find("Total current assets") != std::string::npos);
}

TEST(words_of_a_paragraph_that_was_cut_keep_their_boxes) {
  TemporaryFolder folder;
  std::ofstream out(folder / "long.txt");
  for (int i = 0; i < 120; ++i) out << "Sentence number " << i << " of one long paragraph says a little. ";
  out.close();
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, folder / "long.txt", options());
  REQUIRE_OK(report);
  float last = -1;
  for (int i = 0; i < 120; i += 10) {
    const auto hits = search(**library, report->document.key, "\"number " + std::to_string(i) + "\"", 10);
    REQUIRE_OK(hits);
    REQUIRE(hits->size() == 1 && hits->at(0).boxes.size() == 1);
    const float place = static_cast<float>(hits->at(0).page) + hits->at(0).boxes[0].y0;
    CHECK(place > last);
    last = place;
  }
}
