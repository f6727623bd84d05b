#include "ingest/library/library.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <random>

#include "ingest/library/chats.h"
#include "ingest/library/import_queue.h"
#include "ingest/library/importer.h"
#include "ingest/library/lexical_index.h"
#include "ingest/library/schema.h"
#include "ingest/library/search.h"
#include "tests/support/check.h"
#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

ImportOptions options() {
  ImportOptions o;
  o.reader.worker = program("longleaf-pdf");
  o.range_pages = 8;
  return o;
}

std::filesystem::path save(const TemporaryFolder& folder, const ManualOptions& manual_options = {}) {
  const auto path = folder / ("manual" + std::to_string(manual_options.salt) + ".pdf");
  manual(manual_options).save(path.string());
  return path;
}

std::string whole_text(Library& library, int64_t document) {
  std::string all;
  const auto blocks = library.page_blocks(document, 0, 1 << 20);
  if (blocks.ok())
    for (const auto& row : *blocks) all += row.block.text + "\n";
  return all;
}

}  // namespace

TEST(an_imported_manual_has_its_sections_and_no_running_heads) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, save(folder), options());
  REQUIRE_OK(report);
  CHECK_EQ(report->document.pages, 6);
  CHECK_EQ(report->document.sections, 6);
  CHECK(report->warnings.empty());
  const std::string text = whole_text(**library, report->document.key);
  CHECK(text.find("edition") == std::string::npos);
  CHECK(text.find("has to be maintained by trained people") != std::string::npos);
  const auto tree = (*library)->tree(report->document.key);
  REQUIRE_OK(tree);
  CHECK_EQ(tree->at(1).title, std::string("Chapter A of the pumps"));
  const auto path = (*library)->title_path(tree->back().parent);
  REQUIRE_OK(path);
  CHECK_EQ(*path, std::string("Chapter E of the pumps › Section F of the pumps"));
}

TEST(the_same_bytes_are_known_under_any_name) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto path = save(folder);
  REQUIRE_OK(import_document(**library, path, options()));
  std::filesystem::copy(path, folder / "copy.pdf");
  const auto again = import_document(**library, folder / "copy.pdf", options());
  REQUIRE_OK(again);
  CHECK(again->already_there);
  CHECK_EQ((*library)->documents()->size(), size_t{1});
  CHECK((*library)->find((folder / "copy.pdf").string()).ok());
  CHECK((*library)->find(again->document.id.substr(0, 8)).ok());
  CHECK((*library)->find("Pump manual 0").ok());
  CHECK(!import_document(**library, std::string(5000, 'x') + ".pdf", options()).ok());
  CHECK((*library)->find("nothing").status().code() == Code::NotFound);
}

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

TEST(a_document_without_a_title_is_called_by_the_one_it_prints_and_found_by_its_file) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  std::ofstream(folder / "scan0001.md") << "# The Tides of the Inner Sea\n\n" << std::string(400, 'x') << " end.\n";
  const auto report = import_document(**library, folder / "scan0001.md", options());
  REQUIRE_OK(report);
  CHECK_EQ(report->document.title, std::string("The Tides of the Inner Sea"));
  for (const char* name : {"The Tides of the Inner Sea", "scan0001.md", "scan0001"})
    CHECK_EQ((*library)->find(name)->key, report->document.key);
}

TEST(moved_and_changed_files_are_told_from_new_ones) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto code_of = [&](const char* name) {
    const auto report = import_document(**library, folder / name, options());
    return report.ok() && !report->warnings.empty() ? report->warnings[0].code : std::string();
  };
  std::ofstream(folder / "a.md") << "# One\n\nSome text.";
  CHECK_EQ(code_of("a.md"), std::string());
  std::filesystem::copy_file(folder / "a.md", folder / "copy.md");
  CHECK_EQ(code_of("copy.md"), std::string());  // both are there: not moved
  std::filesystem::rename(folder / "copy.md", folder / "b.md");
  CHECK_EQ(code_of("b.md"), std::string("moved"));
  CHECK_EQ(code_of("b.md"), std::string());
  std::ofstream(folder / "b.md") << "# Two\n\nOther text.";
  CHECK_EQ(code_of("b.md"), std::string("changed"));
  CHECK_EQ((*library)->documents()->size(), size_t{2});
}

TEST(a_title_keeps_its_last_letter_and_is_cut_between_characters) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  std::string longest = "a";  // so that byte 300 is in the middle of a letter
  for (int i = 0; i < 200; ++i) longest += "é";
  for (const std::string& title : {std::string("Le Café"), longest}) {
    std::ofstream(folder / "page.html") << "<title>" << title << "</title><p>Some text.";
    const auto report = import_document(**library, folder / "page.html", options());
    REQUIRE_OK(report);
    CHECK_EQ(report->document.title, title.substr(0, 299));
  }
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

TEST(a_cancelled_import_goes_on_where_it_stopped) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto path = save(folder, {.pages = 40, .outline = true, .salt = 1});
  std::stop_source stop;
  ImportOptions o = options();
  o.stop = stop.get_token();
  o.progress = [&](const ImportProgress& p) {
    if (p.pages_done >= 16) stop.request_stop();
  };
  CHECK(import_document(**library, path, o).status().code() == Code::Cancelled);
  CHECK((*library)->documents()->at(0).state == DocumentState::Reading);
  int first = -1;
  ImportOptions rest = options();
  rest.progress = [&](const ImportProgress& p) {
    if (first < 0) first = p.pages_done;
  };
  const auto report = import_document(**library, path, rest);
  REQUIRE_OK(report);
  CHECK_EQ(first, 16);
  CHECK_EQ(report->document.sections, 40);
}

TEST(killing_an_import_loses_at_most_the_range_in_hand) {
  TemporaryFolder folder;
  const auto path = save(folder, {.pages = 60, .outline = true, .salt = 2});
  std::mt19937 random(21);
  int finished = 0, before = 0;
  for (int round = 0; round < 50 && finished < 3; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      auto library = Library::open(folder / "lib");
      ImportOptions o = options();
      o.readers = 1;
      const bool ok = library.ok() && import_document(**library, path, o).ok();
      _exit(ok ? 0 : 1);
    }
    usleep(2000 + random() % 40000);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    auto library = Library::open(folder / "lib");
    REQUIRE_OK(library);
    const auto check = (*library)->check();
    REQUIRE_OK(check);
    for (const auto& problem : check->problems) fail(__FILE__, __LINE__, problem);
    const auto documents = (*library)->documents();
    if (documents->empty()) continue;
    int pages = 0;
    CHECK((*library)
              ->database()
              .query("SELECT count(*) FROM pages", {},
                     [&](const Row& row) { return pages = static_cast<int>(row.integer(0)), true; })
              .ok());
    CHECK(pages >= before);                // what was there stays
    CHECK(pages % 8 == 0 || pages == 60);  // whole ranges only
    before = pages;
    if (documents->at(0).state == DocumentState::Ready && ++finished < 3) {
      REQUIRE_OK((*library)->remove(documents->at(0).key));
      before = 0;
    }
  }
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, path, options());
  REQUIRE_OK(report);
  CHECK_EQ(report->document.sections, 60);
}

TEST(removing_a_document_leaves_nothing_of_it) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto a = import_document(**library, save(folder), options()),
             b = import_document(**library, save(folder, {.pages = 5, .outline = true, .salt = 3}), options());
  REQUIRE_OK(a);
  REQUIRE_OK(b);
  const auto chat = current_chat(**library, a->document.key);
  REQUIRE_OK(chat);
  REQUIRE_OK(add_message(**library, *chat, {0, "q", "a", "quote", {{"s", true, 1, "quote", {{0, 0, 1, 1}}}}}));
  const auto freed = (*library)->remove(a->document.key);
  REQUIRE_OK(freed);
  CHECK(*freed > 0);
  for (const char* table : {"pages", "nodes", "blocks", "leaf_text"}) {
    int64_t rows = -1;
    CHECK((*library)
              ->database()
              .query((std::string("SELECT count(*) FROM ") + table +
                      " WHERE document = " + std::to_string(a->document.key))
                         .c_str(),
                     {}, [&](const Row& row) { return rows = row.integer(0), true; })
              .ok());
    CHECK_EQ(rows, int64_t{0});
  }
  CHECK((*library)->check()->problems.empty());
  CHECK((*library)->tree(b->document.key)->size() > 5);
}

TEST(conversations_come_back_with_their_citations) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, save(folder), options());
  REQUIRE_OK(report);
  const auto chat = current_chat(**library, report->document.key);
  REQUIRE_OK(chat);
  REQUIRE_OK(
      add_message(**library, *chat,
                  {0, "Why?", "Because.", "exact", {{"Because.", true, 2, "source", {{0.1f, 0.2f, 0.3f, 0.4f}}}}}));
  const auto said = messages(**library, *chat);
  REQUIRE_OK(said);
  REQUIRE(said->size() == 1);
  CHECK_EQ(said->at(0).citations.at(0).quote, std::string("source"));
  CHECK(said->at(0).citations.at(0).boxes.at(0) == (Box{0.1f, 0.2f, 0.3f, 0.4f}));
  REQUIRE_OK(new_chat(**library, report->document.key));
  CHECK(messages(**library, *current_chat(**library, report->document.key))->empty());
}

TEST(a_damaged_library_is_named_not_trusted) {
  TemporaryFolder folder;
  std::filesystem::create_directories(folder / "lib");
  std::ofstream(folder / "lib" / "library.sqlite", std::ios::binary) << std::string(8192, 'x');
  const auto library = Library::open(folder / "lib");
  CHECK(library.status().code() == Code::Corrupt);
  CHECK(library.status().message().find("restore a backup") != std::string::npos);
}

TEST(check_mends_the_search_index_and_takes_damaged_documents_out_of_use) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto path = save(folder);
  const auto report = import_document(**library, path, options());
  REQUIRE_OK(report);
  const int64_t key = report->document.key;
  Database& db = (*library)->database();
  REQUIRE_OK(db.run("INSERT INTO leaf_index(leaf_index) VALUES ('delete-all')"));
  auto check = (*library)->check();
  REQUIRE_OK(check);
  CHECK(check->repaired.size() == 1 && check->problems.empty());
  CHECK(!search(**library, key, "litres", 10)->empty());

  REQUIRE_OK(new_chat(**library, key));
  REQUIRE_OK(db.run("DELETE FROM pages WHERE number = 3"));
  check = (*library)->check();
  REQUIRE_OK(check);
  CHECK(check->problems.size() == 1 && check->problems[0].find("import " + path.string()) != std::string::npos);
  CHECK((*library)->document(key)->state == DocumentState::Reading);
  REQUIRE_OK(import_document(**library, path, options()));
  CHECK_EQ((*library)->document(key)->sections, report->document.sections);
  CHECK(current_chat(**library, key).ok());
  check = (*library)->check();
  CHECK(check->repaired.empty() && check->problems.empty());

  REQUIRE_OK(db.run("DELETE FROM blocks WHERE page = 2"));
  CHECK_EQ((*library)->check(false)->problems.size(), size_t{1});
  CHECK((*library)->document(key)->state == DocumentState::Ready);  // only looked at
  std::filesystem::remove(path);
  check = (*library)->check();
  CHECK(check->problems.size() == 1 && check->problems[0].find("not there any more") != std::string::npos);
  CHECK(!search(**library, key, "litres", 10)->empty());  // without its file, what is left is all there is
}

TEST(a_newer_library_is_refused) {
  TemporaryFolder folder;
  { REQUIRE_OK(Library::open(folder / "lib")); }
  sqlite3* raw = nullptr;
  REQUIRE(sqlite3_open((folder / "lib" / "library.sqlite").c_str(), &raw) == SQLITE_OK);
  sqlite3_exec(raw, "PRAGMA user_version = 999", nullptr, nullptr, nullptr);
  sqlite3_close(raw);
  CHECK(Library::open(folder / "lib").status().code() == Code::Unsupported);
}

TEST(a_backup_made_while_writing_is_whole) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  REQUIRE_OK(import_document(**library, save(folder), options()));
  std::filesystem::create_directories(folder / "restored");
  REQUIRE_OK((*library)->backup(folder / "restored" / "library.sqlite"));
  auto restored = Library::open(folder / "restored");
  REQUIRE_OK(restored);
  CHECK((*restored)->check()->problems.empty());
  CHECK_EQ((*restored)->documents()->size(), size_t{1});
}

TEST(packed_words_keep_their_places) {
  const std::vector<WordPlace> words = {{0, 4, {0, 0.25f, 0.5f, 1}}, {70000, 65535, {0.1f, 0.2f, 0.3f, 0.4f}}};
  const auto back = unpack_words(pack_words(words));
  REQUIRE(back.size() == 2);
  CHECK_EQ(back[1].offset, 70000u);
  CHECK(std::abs(back[1].box.x0 - 0.1f) < 1.0f / 65535);
  CHECK(unpack_words("short").empty());
}

// What each way of hiding does, and what only looks like it.
TEST(text_that_no_reader_sees_is_left_out_and_reported) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  PdfWriter pdf = manual({.pages = 1});
  pdf.raw("1 1 1 rg\n");
  pdf.text(72, 300, 11, false, "Whiteink says that the pump never delivers anything at all.");
  pdf.raw("0 g 3 Tr\n");
  pdf.text(72, 320, 11, false, "Noink says that the pump never delivers anything at all.");
  pdf.raw("0 Tr\n");
  pdf.text(72, 340, 0.5, false, "Tinyink says that the pump never delivers anything at all.");
  pdf.text(72, 400, 11, false, "Coveredink says that the pump never delivers.");
  pdf.raw("1 g 60 435 480 25 re f 0.2 g 60 335 480 25 re f 1 g\n");  // PDF's y counts from below
  pdf.text(72, 500, 11, false, "Whitelabel on a dark bar is well seen.");
  pdf.save((folder / "hidden.pdf").string());
  const auto report = import_document(**library, folder / "hidden.pdf", options());
  REQUIRE_OK(report);
  std::string text;
  const auto blocks = (*library)->page_blocks(report->document.key, 0, 0);
  for (const auto& row : *blocks) text += row.block.text + "\n";
  CHECK(text.find("Whitelabel on a dark bar") != std::string::npos);
  for (const char* hidden : {"Whiteink", "Noink", "Tinyink", "Coveredink"})
    CHECK(text.find(hidden) == std::string::npos);
  CHECK(text.find("litres per minute") != std::string::npos);
  const auto& warnings = report->warnings;
  REQUIRE(warnings.size() == 1);
  CHECK_EQ(warnings[0].code, std::string("hidden_text"));
  CHECK(warnings[0].message.find("Whiteink says") != std::string::npos);
}

TEST(a_library_of_any_older_version_is_brought_up_to_date) {
  for (long version = 1; version < static_cast<long>(kLibraryMigrations.size()); ++version) {
    TemporaryFolder folder;
    std::filesystem::create_directories(folder / "lib");
    {
      const std::vector<const char*> old_ones(kLibraryMigrations.begin(), kLibraryMigrations.begin() + version);
      auto old = Database::open(folder / "lib/library.sqlite", old_ones);
      REQUIRE_OK(old);
      REQUIRE_OK(
          (*old)->run("INSERT INTO documents(id, title, author, path, pages, state) VALUES"
                      " ('aaaa', 'Read', '', 'a.pdf', 1, 1), ('bbbb', 'Half read', '', 'b.pdf', 2, 0)"));
      REQUIRE_OK(
          (*old)->run("INSERT INTO pages(document, number, width, height, label, has_text, problem, words) VALUES"
                      " (1, 0, 595, 842, 'i', 1, NULL, NULL), (2, 0, 595, 842, '', 1, NULL, x'00')"));
      REQUIRE_OK(
          (*old)->run("INSERT INTO nodes(document, ordinal, kind, level, title, page_first, page_last, tokens)"
                      " VALUES (1, 0, 0, 0, 'Read', 0, 0, 0)"));
    }
    auto library = Library::open(folder / "lib");
    REQUIRE_OK(library);
    CHECK_EQ((*library)->documents()->size(), size_t{2});
    CHECK_EQ((*library)->pages(1)->size(), size_t{1});
    CHECK(!(*library)->pages(1)->empty() && (*library)->pages(1)->at(0).label == "i");
    CHECK((*library)->pages(2)->empty());  // in an old encoding: read anew
    CHECK((*library)->check()->problems.empty());
  }
}

TEST(named_files_are_read_before_those_of_folders_and_the_rest_in_order) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  ImportQueue queue(**library);
  REQUIRE_OK(queue.add({"/books/a.pdf", "/books/b.pdf"}, false));
  REQUIRE_OK(queue.add({"/desk/now.pdf"}, true));
  std::vector<std::string> order;
  for (auto next = queue.next(); next.ok() && *next; next = queue.next()) {
    order.push_back((*next)->filename().string());
    REQUIRE_OK(queue.begin(**next));
    REQUIRE_OK(queue.end(**next, {}));
  }
  CHECK(order == (std::vector<std::string>{"now.pdf", "a.pdf", "b.pdf"}));
}

TEST(a_file_that_broke_its_import_twice_is_set_aside_until_it_is_named) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  ImportQueue queue(**library);
  REQUIRE_OK(queue.add({"/books/bad.pdf", "/books/good.pdf"}, false));
  REQUIRE_OK(queue.begin("/books/bad.pdf"));  // and the program dies
  CHECK(queue.next()->value() == "/books/good.pdf");
  REQUIRE_OK(queue.begin("/books/bad.pdf"));
  REQUIRE_OK(queue.end("/books/bad.pdf", Status(Code::Io, "The reader stopped")));
  CHECK(queue.set_aside()->size() == 1 && queue.waiting().ok() && *queue.waiting() == 1);
  CHECK(queue.begin("/books/bad.pdf").code() == Code::Unsupported);
  REQUIRE_OK(queue.clear());
  CHECK(queue.set_aside()->size() == 1 && !*queue.next());
  REQUIRE_OK(queue.add({"/books/bad.pdf"}, true));
  REQUIRE_OK(queue.begin("/books/bad.pdf"));
  REQUIRE_OK(queue.end("/books/bad.pdf", Status(Code::NoMemory, "The library x cannot grow: the disk is full")));
  CHECK(queue.set_aside()->empty() && queue.next()->value() == "/books/bad.pdf");  // no fault of the file's
}

TEST(an_import_that_gets_further_each_time_is_never_set_aside) {
  TemporaryFolder folder;
  const auto path = save(folder, {.pages = 60, .outline = true, .salt = 9});
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  ImportQueue queue(**library);
  for (int attempt = 0; attempt < 5; ++attempt) {
    REQUIRE_OK(queue.begin(path));
    std::stop_source stop;
    ImportOptions part = options();
    part.range_pages = 8, part.stop = stop.get_token();
    int ranges = 0;
    part.progress = [&](const ImportProgress&) {
      if (++ranges == 2) stop.request_stop();
    };
    const auto report = import_document(**library, path, part);
    CHECK(report.status().code() == Code::Cancelled);  // as if it were killed: the queue does not hear of it
  }
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
