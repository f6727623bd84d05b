// Reads a PDF into the library. Pages are kept in transactions of `range_pages`: after a crash the next import of the
// same file goes on at the first page that is missing. The section tree is made in one transaction at the end.
#pragma once

#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "ingest/library/library.h"
#include "ingest/reader/reader.h"

namespace longleaf {

struct ImportWarning {
  std::string code;  // "page_failed", "scanned_pages", "no_text", "hidden_text", "moved", "changed"
  int page = -1;     // from 0; -1: the document
  std::string message;
};

struct ImportProgress {
  int64_t document = 0;
  std::string title;
  int pages_done = 0, pages = 0;
};

struct ImportOptions {
  ReaderOptions reader;
  int readers = 0;  // worker processes; 0: one per processor, four at most
  int range_pages = 32;
  std::function<void(const ImportProgress&)> progress;  // called on the importing thread
  std::stop_token stop;  // looked at between pages; Cancelled is returned and what was read is kept
};

struct ImportReport {
  DocumentRow document;
  bool already_there = false;
  double seconds = 0;
  std::vector<ImportWarning> warnings;
};

// Blocks until done. Errors: DocumentReader::open's, Database's, Cancelled.
Result<ImportReport> import_document(Library& library, const std::filesystem::path& file, const ImportOptions& options);

}  // namespace longleaf
