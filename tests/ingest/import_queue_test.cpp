#include "ingest/library/import_queue.h"

#include "tests/support/check.h"
#include "tests/support/import_rig.h"

using namespace longleaf;
using namespace longleaf::test;

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

TEST(what_no_file_can_help_leaves_the_queue_as_it_is) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  ImportQueue queue(**library);
  REQUIRE_OK(queue.add({folder / "a.pdf"}, false));
  for (const Code code : {Code::Cancelled, Code::Unavailable})
    for (int attempt = 0; attempt < 3; ++attempt) {
      REQUIRE_OK(queue.begin(folder / "a.pdf"));
      REQUIRE_OK(queue.end(folder / "a.pdf", Status(code, "no reader")));
    }
  CHECK_EQ(*queue.waiting(), 1);
  CHECK(*queue.has(folder / "a.pdf") && !*queue.has(folder / "b.pdf"));
  REQUIRE_OK(queue.begin(folder / "a.pdf"));
  REQUIRE_OK(queue.end(folder / "a.pdf", Status(Code::NotFound, "no file")));
  CHECK_EQ(*queue.waiting(), 0);
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
