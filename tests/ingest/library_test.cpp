#include "ingest/library/library.h"

#include <sqlite3.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <iterator>
#include <thread>

#include "ingest/library/chats.h"
#include "ingest/library/node_vectors.h"
#include "ingest/library/schema.h"
#include "ingest/library/search.h"
#include "tests/support/check.h"
#include "tests/support/import_rig.h"

using namespace longleaf;
using namespace longleaf::test;

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

// The search index is a tree of many pages once a library has some documents.
TEST(words_of_a_removed_document_are_in_no_byte_of_the_library) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  int64_t gone = 0;
  for (const char* name : {"sparrow", "walrus", "beetle"}) {
    std::ofstream out(folder / (std::string(name) + ".txt"));
    for (int i = 0; i < 3000; ++i) {
      out << name << i << " stands in front of";
      for (int k = 0; k < 40; ++k) out << " " << name << i * 40 + k;
      out << ".\n\n";
    }
    out.close();
    const auto report = import_document(**library, folder / (std::string(name) + ".txt"), options());
    REQUIRE_OK(report);
    if (name == std::string("walrus")) gone = report->document.key;
  }
  REQUIRE_OK((*library)->remove(gone));
  for (const auto& entry : std::filesystem::directory_iterator(folder / "lib")) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    CHECK(bytes.find("walrus") == std::string::npos);
  }
  CHECK((*library)->check()->problems.empty());
}

TEST(removing_beside_a_reader_says_what_was_freed_and_what_was_not) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib"), other = Library::open(folder / "lib");
  REQUIRE_OK(library);
  REQUIRE_OK(other);
  const auto report = import_document(**library, save(folder, {.pages = 200, .outline = true, .salt = 1}), options());
  REQUIRE_OK(report);
  Result<uint64_t> freed(uint64_t{0});
  CHECK((*other)
            ->database()
            .query("SELECT text FROM blocks", {},
                   [&](const Row&) {  // in the middle of reading
                     freed = (*library)->remove(report->document.key);
                     return false;
                   })
            .ok());
  REQUIRE_OK(freed);
  CHECK_EQ(*freed, uint64_t{0});
  CHECK((*library)->documents()->empty());
}

TEST(vectors_of_leaves_belong_to_a_model_and_go_with_their_document) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, save(folder), options());
  REQUIRE_OK(report);
  const int64_t document = report->document.key;
  const auto nodes = (*library)->tree(document);
  REQUIRE_OK(nodes);
  constexpr uint64_t kModel = 0xfedcba9876543210;  // above what SQLite's integers hold unsigned
  REQUIRE_OK(add_leaf_vectors(**library, kModel, {{nodes->back().key, {0.5f, -1.0f}}}));
  const auto kept = leaf_vectors(**library, document, kModel);
  REQUIRE_OK(kept);
  CHECK(kept->size() == 1 && kept->at(nodes->back().key) == std::vector<float>({0.5f, -1.0f}));
  CHECK(leaf_vectors(**library, document, 7)->empty());
  REQUIRE_OK((*library)->remove(document));
  int64_t rows = -1;
  CHECK((*library)
            ->database()
            .query("SELECT count(*) FROM node_vectors", {}, [&](const Row& row) { return rows = row.integer(0), true; })
            .ok());
  CHECK_EQ(rows, int64_t{0});
}

TEST(a_text_that_was_changed_here_or_elsewhere_is_told_from_what_it_was) {
  TemporaryFolder folder;
  auto here = Library::open(folder / "lib"), elsewhere = Library::open(folder / "lib");
  REQUIRE_OK(here);
  REQUIRE_OK(elsewhere);
  const auto report = import_document(**here, save(folder), options());
  REQUIRE_OK(report);
  const int64_t document = report->document.key;
  std::string before = *(*here)->text_state(document);
  CHECK(!before.empty());
  REQUIRE_OK((*elsewhere)->set_setting("model", "none"));  // no text
  CHECK_EQ(*(*here)->text_state(document), before);
  for (Library* writer : {here->get(), elsewhere->get()}) {
    REQUIRE_OK(writer->database().run("UPDATE leaf_text SET body = body || 'x' WHERE document = ?", {document}));
    const std::string now = *(*here)->text_state(document);
    CHECK(now != before);
    CHECK_EQ(now, *(*elsewhere)->text_state(document));
    CHECK_EQ(now, *(*here)->text_state(document));
    before = now;
  }
  const auto mark = [&] { return *(*here)->database().mark(); };
  auto last = mark();
  REQUIRE_OK((*here)->set_setting("model", "other"));
  CHECK(mark() == last);  // an answer that is kept costs no look at the text
  for (const char* sql : {"UPDATE leaf_text SET body = 'x' WHERE key = (SELECT max(key) FROM leaf_text)",
                          "DELETE FROM leaf_text WHERE body = 'x'"}) {
    REQUIRE_OK((*here)->database().run(sql));
    CHECK(mark() != last);
    last = mark();
  }
  CHECK((*here)->text_state(document + 1).ok() && *(*here)->text_state(document + 1) != before);
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

TEST(a_backup_made_while_another_writes_is_whole) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  REQUIRE_OK(import_document(**library, save(folder), options()));
  std::atomic<bool> done{false};
  std::atomic<int> written{0};
  std::thread writer([&] {
    auto own = Library::open(folder / "lib");
    for (int i = 0; own.ok() && !done; ++i)
      written += (*own)->set_setting("k" + std::to_string(i), std::string(2000, 'x')).ok() ? 1 : 0;
  });
  while (written < 5) std::this_thread::yield();
  std::filesystem::create_directories(folder / "restored");
  for (int i = 0; i < 5; ++i) {
    REQUIRE_OK((*library)->backup(folder / "restored" / "library.sqlite"));
    CHECK(!std::filesystem::exists(folder / "restored" / "library.sqlite.longleaf-part"));
    auto restored = Library::open(folder / "restored");
    REQUIRE_OK(restored);
    CHECK((*restored)->check()->problems.empty());
    CHECK_EQ((*restored)->documents()->size(), size_t{1});
    restored = Status(Code::Cancelled, "");
    std::filesystem::remove_all(folder / "restored");
    std::filesystem::create_directories(folder / "restored");
  }
  done = true;
  writer.join();
  std::filesystem::create_directories(folder / "taken");
  CHECK((*library)->backup(folder / "taken").code() == Code::Io);  // a folder has that name
}

// As when the window starts: each of its threads opens the library for itself, and the first makes it.
TEST(a_new_library_is_opened_by_several_at_once) {
  constexpr int kTimes = 100, kThreads = 8;
  for (int time = 0; time < kTimes; ++time) {
    TemporaryFolder folder;
    std::atomic<int> waiting = kThreads;
    std::vector<Status> statuses(kThreads);
    std::vector<std::thread> threads;
    for (Status& status : statuses)
      threads.emplace_back([&folder, &waiting, &status] {
        for (--waiting; waiting > 0;) std::this_thread::yield();
        status = Library::open(folder.path()).status();
      });
    for (std::thread& thread : threads) thread.join();
    for (const Status& status : statuses) CHECK_EQ(status.message(), "");
  }
}

TEST(packed_words_keep_their_places) {
  const std::vector<WordPlace> words = {{0, 4, {0, 0.25f, 0.5f, 1}}, {70000, 65535, {0.1f, 0.2f, 0.3f, 0.4f}}};
  const auto back = unpack_words(pack_words(words));
  REQUIRE(back.size() == 2);
  CHECK_EQ(back[1].offset, 70000u);
  CHECK(std::abs(back[1].box.x0 - 0.1f) < 1.0f / 65535);
  CHECK(unpack_words("short").empty());
}

TEST(a_library_of_any_older_version_is_brought_up_to_date) {
  constexpr long kPagesAsNow = 3;  // the version that encodes pages as this one does
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
                      " VALUES (1, 0, 0, 0, 'Read', 0, 0, 0), (1, 1, 1, 1, '', 0, 0, 9)"));
      REQUIRE_OK(
          (*old)->run("INSERT INTO blocks(document, page, node, kind, text, words) VALUES"
                      " (1, 0, 2, 0, 'An old organization', x'')"));
      REQUIRE_OK(
          (*old)->run("INSERT INTO leaf_text(key, document, path, body) VALUES"
                      " (2, 1, '', 'An old organization')"));
    }
    auto library = Library::open(folder / "lib");
    REQUIRE_OK(library);
    CHECK_EQ((*library)->documents()->size(), size_t{2});
    CHECK_EQ((*library)->pages(1)->size(), size_t{1});
    CHECK(!(*library)->pages(1)->empty() && (*library)->pages(1)->at(0).label == "i");
    CHECK_EQ(search(**library, 1, "organiza", 10)->size(), size_t{1});
    CHECK_EQ(search(**library, 1, "organizations", 10)->size(), size_t{1});
    CHECK_EQ((*library)->pages(2)->empty(), version < kPagesAsNow);  // in an old encoding: read anew
    CHECK((*library)->check()->problems.empty());
  }
}
