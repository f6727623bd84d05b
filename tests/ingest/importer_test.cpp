#include "ingest/library/importer.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>

#include "tests/support/check.h"
#include "tests/support/hanging_pdf.h"
#include "tests/support/import_rig.h"

using namespace longleaf;
using namespace longleaf::test;

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

TEST(a_page_that_never_ends_is_skipped_and_named_and_the_rest_is_read) {
  TemporaryFolder folder;
  save_hanging_pdf(folder / "hangs.pdf");
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  auto o = options();
  o.reader.page_timeout_ms = 3000;
  const auto report = import_document(**library, folder / "hangs.pdf", o);
  REQUIRE_OK(report);
  REQUIRE(report->warnings.size() == 1);
  CHECK_EQ(report->warnings[0].code, std::string("page_failed"));
  CHECK_EQ(report->warnings[0].page, 1);
  CHECK_EQ(whole_text(**library, report->document.key),
           std::string("The first page is read.\nThe third page is read as well.\n"));
}

// The reader cannot be started again: that is no fault of the pages, and the next import goes on.
TEST(pages_are_not_given_up_because_the_reader_is_gone) {
  TemporaryFolder folder;
  save_hanging_pdf(folder / "hangs.pdf");
  const auto once = folder / "once";
  std::ofstream(once) << "#!/bin/sh\nrm -- \"$0\"\nexec '" << program("longleaf-pdf").string() << "'\n";
  std::filesystem::permissions(once, std::filesystem::perms::owner_all);
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  auto o = options();
  o.reader.page_timeout_ms = 3000;
  o.reader.worker = once;
  o.readers = 1;
  o.range_pages = 1;
  CHECK(import_document(**library, folder / "hangs.pdf", o).status().code() == Code::Unavailable);
  o.reader.worker = program("longleaf-pdf");
  const auto report = import_document(**library, folder / "hangs.pdf", o);
  REQUIRE_OK(report);
  CHECK(whole_text(**library, report->document.key).find("third page") != std::string::npos);
}

TEST(a_reader_ends_with_the_program_that_started_it) {
  TemporaryFolder folder;
  save_hanging_pdf(folder / "hangs.pdf");
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  if (child == 0) {
    auto reader = DocumentReader::open(folder / "hangs.pdf", options().reader);
    const int pid = reader.ok() ? (*reader)->worker_pid() : 0;
    if (write(ends[1], &pid, sizeof pid) == sizeof pid && reader.ok()) (void)(*reader)->page(1);
    _exit(0);
  }
  int reader = 0;
  REQUIRE(read(ends[0], &reader, sizeof reader) == sizeof reader && reader > 0);
  close(ends[0]), close(ends[1]);
  usleep(300000);  // the page is being read
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const auto runs = [&] {
    std::ifstream stat("/proc/" + std::to_string(reader) + "/stat");
    std::string line;
    return std::getline(stat, line) && line.find(") Z") == std::string::npos;
  };
  for (int i = 0; i < 200 && runs(); ++i) usleep(50000);
  CHECK(!runs());
  kill(reader, SIGKILL);
}
