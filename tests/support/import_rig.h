// What tests of the library need to import a small manual.
#pragma once

#include "ingest/library/importer.h"
#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/temporary_folder.h"

namespace longleaf::test {

inline ImportOptions options() {
  ImportOptions o;
  o.reader.worker = program("longleaf-pdf");
  o.range_pages = 8;
  return o;
}

inline std::filesystem::path save(const TemporaryFolder& folder, const ManualOptions& manual_options = {}) {
  const auto path = folder / ("manual" + std::to_string(manual_options.salt) + ".pdf");
  manual(manual_options).save(path.string());
  return path;
}

inline std::string whole_text(Library& library, int64_t document) {
  std::string all;
  const auto blocks = library.page_blocks(document, 0, 1 << 20);
  if (blocks.ok())
    for (const auto& row : *blocks) all += row.block.text + "\n";
  return all;
}

}  // namespace longleaf::test
