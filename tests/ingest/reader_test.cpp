#include "ingest/reader/reader.h"

#include <signal.h>

#include "tests/support/check.h"
#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/raw_pdf.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

ReaderOptions options() {
  ReaderOptions o;
  o.worker = program("longleaf-pdf");
  return o;
}

std::string text_of(const PageText& page) {
  std::string all;
  for (const Word& word : page.words) all += word.text + " ";
  return all;
}

}  // namespace

TEST(words_come_with_boxes_fonts_and_an_outline_with_targets) {
  TemporaryFolder folder;
  manual().save((folder / "m.pdf").string());
  auto reader = DocumentReader::open(folder / "m.pdf", options());
  REQUIRE_OK(reader);
  CHECK_EQ((*reader)->info().pages, 6);
  CHECK_EQ((*reader)->info().title, std::string("Pump manual 0"));
  const auto page = (*reader)->page(2);
  REQUIRE_OK(page);
  CHECK(text_of(*page).find("pump number 2 delivers 114 litres") != std::string::npos);
  bool bold = false;
  for (const Word& word : page->words) {
    CHECK(word.box.x0 >= 0 && word.box.x1 <= 1 && word.box.y0 < word.box.y1 && word.box.x0 < word.box.x1);
    if (word.text == "Chapter") bold = word.bold && word.size_pt == 20 && word.box.y0 > 0.10f && word.box.y1 < 0.14f;
  }
  CHECK(bold);
  const auto outline = (*reader)->outline();
  REQUIRE_OK(outline);
  REQUIRE(outline->size() == 6);
  CHECK_EQ(outline->at(3).page, 3);
  CHECK_EQ(outline->at(3).level, 1);
}

TEST(an_outline_that_goes_round_in_circles_ends) {
  for (const char* links : {"/Next 5 0 R", "/First 5 0 R/Last 5 0 R", "/First 4 0 R/Last 4 0 R/Next 4 0 R"}) {
    TemporaryFolder folder;
    RawPdf pdf;
    pdf.object("<</Type/Catalog/Pages 2 0 R/Outlines 4 0 R>>");
    pdf.object("<</Type/Pages/Count 1/Kids[3 0 R]>>");
    pdf.object("<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]>>");
    pdf.object("<</Type/Outlines/First 5 0 R/Last 5 0 R/Count 1>>");
    pdf.object(std::string("<</Title(Round and round)/Parent 4 0 R/Dest[3 0 R/Fit]") + links + ">>");
    pdf.save(folder / "loop.pdf");
    auto reader = DocumentReader::open(folder / "loop.pdf", options());
    REQUIRE_OK(reader);
    const auto outline = (*reader)->outline();
    CHECK(outline.ok() || outline.status().code() == Code::Io);
    CHECK(!outline.ok() || (!outline->empty() && outline->size() < 1000));
    CHECK((*reader)->page(0).ok());
  }
}

TEST(a_page_is_drawn_at_the_width_asked_for) {
  TemporaryFolder folder;
  manual().save((folder / "m.pdf").string());
  auto reader = DocumentReader::open(folder / "m.pdf", options());
  REQUIRE_OK(reader);
  const auto image = (*reader)->render(0, 300);
  REQUIRE_OK(image);
  CHECK(image->width >= 299 && image->width <= 301);
  size_t dark = 0;
  for (size_t i = 0; i < image->rgb32.size(); i += 4) dark += image->rgb32[i] < 100 ? 1 : 0;
  CHECK(dark > 100);
  CHECK((*reader)->render(0, 1 << 30).ok());
  CHECK(!(*reader)->render(99, 300).ok());
}

TEST(a_worker_that_is_killed_is_replaced) {
  TemporaryFolder folder;
  manual().save((folder / "m.pdf").string());
  auto reader = DocumentReader::open(folder / "m.pdf", options());
  REQUIRE_OK(reader);
  kill((*reader)->worker_pid(), SIGKILL);
  CHECK((*reader)->page(0).status().code() == Code::Io);
  CHECK((*reader)->page(0).ok());
}

TEST(a_worker_that_hangs_is_given_up) {
  TemporaryFolder folder;
  manual().save((folder / "m.pdf").string());
  ReaderOptions o = options();
  o.page_timeout_ms = 200;
  auto reader = DocumentReader::open(folder / "m.pdf", o);
  REQUIRE_OK(reader);
  kill((*reader)->worker_pid(), SIGSTOP);
  CHECK((*reader)->page(0).status().code() == Code::Timeout);
  CHECK((*reader)->page(0).ok());
}

TEST(what_is_no_pdf_is_refused_in_words) {
  TemporaryFolder folder;
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(folder / "bad.pdf", std::ios::binary) << bytes;
    const auto reader = DocumentReader::open(folder / "bad.pdf", options());
    return reader.ok() ? Status() : reader.status();
  };
  CHECK(refused("").code() == Code::Corrupt);
  CHECK(refused("hello world, this is text").message().find("not a PDF") != std::string::npos);
  CHECK(!refused("%PDF-1.7\nnothing else").ok());
  CHECK(DocumentReader::open(folder / "missing.pdf", options()).status().code() == Code::NotFound);
  CHECK(DocumentReader::open(folder.path(), options()).status().code() == Code::Invalid);
  CHECK(!DocumentReader::open(std::string(5000, 'x') + ".pdf", options()).ok());
  ReaderOptions lost = options();
  lost.worker = folder / "no-such-program";
  manual().save((folder / "m.pdf").string());
  CHECK(DocumentReader::open(folder / "m.pdf", lost).status().message().find("install") != std::string::npos);
}

TEST(every_cut_of_a_file_ends_in_pages_or_a_sentence) {
  TemporaryFolder folder;
  const std::string whole = manual().bytes();
  for (size_t n = 0; n < whole.size(); n += 211) {
    std::ofstream(folder / "cut.pdf", std::ios::binary) << whole.substr(0, n);
    auto reader = DocumentReader::open(folder / "cut.pdf", options());
    if (!reader.ok()) {
      CHECK(!reader.status().message().empty() && reader.status().code() != Code::Timeout);
      continue;
    }
    const auto page = (*reader)->page(0);
    CHECK(page.ok() || !page.status().message().empty());
  }
}
