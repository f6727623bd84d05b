// Text recognition of scanned pages, after the import: page by page, each kept as soon as it is read, so that a stop or
// a crash loses one page at most. Uses a Library: its thread; calls block.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "ingest/library/importer.h"
#include "ingest/library/library.h"

namespace longleaf {

struct RecogniseOptions {
  ReaderOptions reader;
  std::string languages = "eng";                        // joined by '+'
  int readers = 0;                                      // as ImportOptions
  std::function<void(const ImportProgress&)> progress;  // counts scanned pages; on the calling thread
  std::stop_token stop;
};

struct RecogniseReport {
  int pages = 0;    // that were read now
  int waiting = 0;  // that are left, after a stop
  int failed = 0;
  double seconds = 0;
};

// Pages that are pictures without text and were not recognised yet.
Result<std::vector<int>> scanned_pages(Library& library, int64_t document);

// How long a page takes here on all processors, from the last time; 0 before the first.
Result<double> recognition_seconds_per_page(Library& library);

// Reads them and makes the section tree anew, also of those read before a stop. NotFound where Tesseract, a language or
// the file is missing, Invalid when the file is not the one that was imported.
Result<RecogniseReport> recognise_scans(Library& library, const DocumentRow& document, const RecogniseOptions& options);

}  // namespace longleaf
