// Every real PDF at hand imports or is refused with a sentence; none crashes or hangs (tests/support/shared_data.h).
#include <algorithm>

#include "ingest/library/importer.h"
#include "tests/support/check.h"
#include "tests/support/programs.h"
#include "tests/support/shared_data.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

TEST(every_pdf_imports_or_is_refused_in_words) {
  const auto root = shared_data() / "pdf";
  if (!std::filesystem::exists(root)) skip_all("there is no folder " + root.string());
  TemporaryFolder folder;
  auto library = Library::open(folder / "lib");
  REQUIRE_OK(library);
  int imported = 0, locked = 0, refused = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".pdf") continue;
    ImportOptions options;
    options.reader.worker = program("longleaf-pdf");
    auto report = import_document(**library, entry.path(), options);
    if (report.ok()) {
      ++imported;
      const bool says_why = report->document.leaves > 0 || !report->warnings.empty();
      if (!says_why) fail(__FILE__, __LINE__, entry.path().string() + " has no leaf and no warning");
      continue;
    }
    locked += report.status().code() == Code::Locked ? 1 : 0;
    refused += report.status().code() != Code::Locked ? 1 : 0;
    if (report.status().code() == Code::Timeout || report.status().message().empty())
      fail(__FILE__, __LINE__, entry.path().string());
  }
  std::printf("  %d imported, %d ask for a password, %d refused\n", imported, locked, refused);
  CHECK(imported > 90 && locked >= 9);
  CHECK((*library)->check()->problems.empty());
}

TEST(encrypted_files_open_with_their_password_only) {
  const auto folder_in = shared_data() / "pdf/pdf-pdfminer/encryption";
  if (!std::filesystem::exists(folder_in)) skip_all("there is no folder " + folder_in.string());
  for (const char* name : {"rc4-40.pdf", "rc4-128.pdf", "aes-128.pdf", "aes-256.pdf"}) {
    ReaderOptions options;
    options.worker = program("longleaf-pdf");
    options.password = "wrong";
    CHECK(DocumentReader::open(folder_in / name, options).status().code() == Code::Locked);
    options.password = "foo";
    bool opened = DocumentReader::open(folder_in / name, options).ok();
    options.password = "baz";
    opened = opened || DocumentReader::open(folder_in / name, options).ok();
    if (!opened) fail(__FILE__, __LINE__, name);
  }
}
