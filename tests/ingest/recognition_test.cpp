// Scanned pages: found, counted, and read with Tesseract where it is installed.
#include "ingest/library/recognition.h"

#include "ingest/library/search.h"
#include "ingest/reader/recognition.h"
#include "tests/support/check.h"
#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/scan.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

ImportOptions import_options() {
  ImportOptions options;
  options.reader.worker = program("longleaf-pdf");
  return options;
}

RecogniseOptions recognise_options() {
  RecogniseOptions options;
  options.reader.worker = program("longleaf-pdf");
  return options;
}

bool has_tesseract() {
  if (!recognition_languages().empty()) return true;
  std::printf("  not tried: Tesseract is not installed\n");
  return false;
}

// The pages of the manual as pictures of 200 dots an inch.
std::filesystem::path scan_of_manual(const TemporaryFolder& folder, int pages) {
  manual({.pages = pages, .outline = false, .salt = 0}).save((folder / "manual.pdf").string());
  auto reader = DocumentReader::open(folder / "manual.pdf", recognise_options().reader);
  std::vector<PageImage> images;
  for (int p = 0; p < pages; ++p) images.push_back(*(*reader)->render(p, 1654));
  save_scan(images, folder / "scan.pdf");
  return folder / "scan.pdf";
}

}  // namespace

TEST(scanned_pages_are_counted_and_the_remedy_is_named) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 3), import_options());
  REQUIRE_OK(report);
  REQUIRE(report->warnings.size() == 1);
  CHECK_EQ(report->warnings[0].code, std::string("scanned_pages"));
  CHECK(report->warnings[0].message.find("3 of 3 pages are scans") == 0);
  CHECK_EQ(scanned_pages(**library, report->document.key)->size(), size_t{3});
  const auto manual_report = import_document(**library, folder / "manual.pdf", import_options());
  REQUIRE_OK(manual_report);
  CHECK(manual_report->warnings.empty());
}

// Libraries stamp what they scan.
TEST(a_scan_with_a_line_of_text_on_it_is_a_scan) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  PageImage grey{40, 40, std::vector<uint8_t>(40 * 40 * 4, 200)};
  save_scan({grey, grey, grey}, folder / "stamped.pdf", "Downloaded from a library on a day in March");
  const auto report = import_document(**library, folder / "stamped.pdf", import_options());
  REQUIRE_OK(report);
  CHECK_EQ(scanned_pages(**library, report->document.key)->size(), size_t{3});
  REQUIRE(!report->warnings.empty());
  CHECK_EQ(report->warnings[0].code, std::string("scanned_pages"));
}

// A picture behind a slide's words: recognition brings no more than the file says better.
TEST(words_of_the_file_do_not_give_way_to_a_guess_of_them) {
  if (recognition_languages().empty()) return std::puts("  Tesseract is not installed"), void();
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  PageImage white{40, 40, std::vector<uint8_t>(40 * 40 * 4, 255)};
  save_scan({white}, folder / "slide.pdf", "The pump is on the left");
  const auto report = import_document(**library, folder / "slide.pdf", import_options());
  REQUIRE_OK(report);
  RecogniseOptions options;
  options.reader = import_options().reader;
  REQUIRE_OK(recognise_scans(**library, report->document, options));
  const auto blocks = (*library)->page_blocks(report->document.key, 0, 0);
  REQUIRE_OK(blocks);
  REQUIRE(blocks->size() == 1);
  CHECK_EQ(blocks->at(0).block.text, std::string("The pump is on the left"));
  CHECK(std::abs(blocks->at(0).block.words[0].box.x0 - 60.0f / 595) < 0.002f);  // the file's own place
  CHECK(scanned_pages(**library, report->document.key)->empty());
}

TEST(scans_are_read_kept_after_a_stop_and_searched) {
  if (!has_tesseract()) return;
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 3), import_options());
  REQUIRE_OK(report);
  const int64_t key = report->document.key;
  std::stop_source stop;
  RecogniseOptions options = recognise_options();
  options.readers = 1;
  options.stop = stop.get_token();
  options.progress = [&](const ImportProgress& p) {
    if (p.pages_done == 1) stop.request_stop();
  };
  auto first = recognise_scans(**library, report->document, options);
  REQUIRE_OK(first);
  CHECK(first->pages == 1 && first->waiting == 2 && first->failed == 0);
  CHECK_EQ(search(**library, key, "litres", 10)->size(), size_t{1});
  CHECK(*recognition_seconds_per_page(**library) > 0);

  const auto rest = recognise_scans(**library, report->document, recognise_options());
  REQUIRE_OK(rest);
  CHECK(rest->pages == 2 && rest->waiting == 0);
  const auto hits = search(**library, key, "\"delivers 114 litres\"", 10);
  REQUIRE_OK(hits);
  REQUIRE(hits->size() == 1);
  CHECK_EQ(hits->at(0).page, 2);
  const Box& box = hits->at(0).boxes.at(0);  // where the manual prints it: a line at 150 of 842 points
  CHECK(box.y0 > 0.155f && box.y1 < 0.195f && box.x0 > 0.1f);
  CHECK((*library)->check()->problems.empty() && (*library)->check()->repaired.empty());
  CHECK((*library)->document(key)->sections >= 2);
}

TEST(what_was_recognised_before_a_crash_comes_into_the_tree) {
  if (!has_tesseract()) return;
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 2), import_options());
  REQUIRE_OK(report);
  REQUIRE_OK(recognise_scans(**library, report->document, recognise_options()));
  // As a crash leaves it after the last page: read, but the tree is the old one.
  Database& db = (*library)->database();
  REQUIRE_OK(db.run("UPDATE pages SET recognised = 2"));
  for (const char* table : {"leaf_text", "blocks"}) REQUIRE_OK(db.run(("DELETE FROM " + std::string(table)).c_str()));
  REQUIRE_OK(db.run("DELETE FROM nodes WHERE level > 0"));
  const auto again = recognise_scans(**library, report->document, recognise_options());
  REQUIRE_OK(again);
  CHECK_EQ(again->pages, 0);
  CHECK_EQ(search(**library, report->document.key, "litres", 10)->size(), size_t{2});
}

TEST(recognised_text_outlives_a_check_that_takes_the_document_out_of_use) {
  if (!has_tesseract()) return;
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 2), import_options());
  REQUIRE_OK(report);
  REQUIRE_OK(recognise_scans(**library, report->document, recognise_options()));
  REQUIRE_OK((*library)->database().run("DELETE FROM blocks"));
  CHECK_EQ((*library)->check()->problems.size(), size_t{1});
  REQUIRE_OK(import_document(**library, folder / "scan.pdf", import_options()));
  CHECK_EQ(search(**library, report->document.key, "litres", 10)->size(), size_t{2});
}

TEST(a_page_that_cannot_be_read_again_does_not_lose_its_text) {
  if (!has_tesseract()) return;
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 1), import_options());
  REQUIRE_OK(report);
  // A page with text that the file does not have: reading it again fails.
  Database& db = (*library)->database();
  REQUIRE_OK(db.run("INSERT INTO pages(document, number, width, height, label, has_text) VALUES (?, 7, 1, 1, '', 1)",
                    {report->document.key}));
  CHECK(!recognise_scans(**library, report->document, recognise_options()).ok());
  REQUIRE_OK(db.run("DELETE FROM pages WHERE number = 7"));
  REQUIRE_OK(recognise_scans(**library, report->document, recognise_options()));  // what was recognised is not lost
  CHECK_EQ(search(**library, report->document.key, "litres", 10)->size(), size_t{1});
}

TEST(a_page_that_could_not_be_read_this_time_stays_a_scan) {
  if (!has_tesseract()) return;
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 1), import_options());
  REQUIRE_OK(report);
  RecogniseOptions options = recognise_options();
  options.reader.recognise_timeout_ms = 1;
  const auto hurried = recognise_scans(**library, report->document, options);
  REQUIRE_OK(hurried);
  CHECK(hurried->failed == 1 && hurried->waiting == 1 && hurried->pages == 0);
  CHECK_EQ(recognise_scans(**library, report->document, recognise_options())->pages, 1);
}

TEST(a_language_that_is_not_there_is_named) {
  if (!has_tesseract()) return;
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 1), import_options());
  REQUIRE_OK(report);
  RecogniseOptions options = recognise_options();
  options.languages = "tlh";
  const auto recognised = recognise_scans(**library, report->document, options);
  CHECK(recognised.status().code() == Code::NotFound);
  CHECK(recognised.status().message().find("tlh") != std::string::npos);
  CHECK_EQ(scanned_pages(**library, report->document.key)->size(), size_t{1});
}

TEST(a_file_that_changed_is_not_mixed_with_what_was_read) {
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  const auto report = import_document(**library, scan_of_manual(folder, 1), import_options());
  REQUIRE_OK(report);
  std::ofstream(folder / "scan.pdf", std::ios::app) << "\n";
  CHECK(recognise_scans(**library, report->document, recognise_options()).status().code() == Code::Invalid);
}
