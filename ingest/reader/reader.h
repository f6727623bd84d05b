// Reads one document through a worker process. A worker that dies or does not answer is replaced; the request that
// killed it fails, the next one works. Not thread-safe: one thread owns it. Calls block up to the timeouts.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "ingest/reader/page_text.h"
#include "ingest/reader/protocol.h"

namespace longleaf {

struct ReaderOptions {
  std::filesystem::path worker;  // the program longleaf-pdf
  std::string password;
  int page_timeout_ms = 30000;
  int open_timeout_ms = 60000;
  int recognise_timeout_ms = 120000;
};

class DocumentReader {
 public:
  // Opens `file` and asks the worker to read it.
  // Returns NotFound, Corrupt, Locked (needs a password, or another one), Timeout, Io, Unavailable (no worker).
  static Result<std::unique_ptr<DocumentReader>> open(const std::filesystem::path& file, ReaderOptions options);
  ~DocumentReader();
  DocumentReader(const DocumentReader&) = delete;
  DocumentReader& operator=(const DocumentReader&) = delete;

  const DocumentInfo& info() const { return info_; }
  Result<PageText> page(int index);
  Result<std::vector<OutlineEntry>> outline();
  // The page as a picture, read by Tesseract; takes seconds. NotFound where it, or a language, is not installed.
  //   languages  joined by '+', such as "eng+deu"
  Result<PageText> recognise(int index, const std::string& languages);
  // At most kMaxRenderWidth pixels wide.
  Result<PageImage> render(int index, int width_px);

  // For tests: the worker's process id, 0 when none runs.
  int worker_pid() const { return pid_; }

 private:
  explicit DocumentReader(ReaderOptions options) : options_(std::move(options)) {}
  Status start();
  Result<PageText> page_of(const Result<worker::Frame>& answer, int index);
  void stop();
  Result<worker::Frame> ask(worker::Kind request, std::string_view body, worker::Kind expected, int timeout_ms);
  Result<worker::Frame> exchange(worker::Kind request, std::string_view body, worker::Kind expected, int timeout_ms);

  ReaderOptions options_;
  DocumentInfo info_;
  std::string name_;  // of the file
  int file_ = -1, to_worker_ = -1, from_worker_ = -1, pid_ = 0;
};

}  // namespace longleaf
