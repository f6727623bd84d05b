// One file, opened inside the worker, whatever its format. Not thread-safe: one thread owns it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"
#include "ingest/reader/page_text.h"

namespace longleaf::worker {

class OpenDocument {
 public:
  virtual ~OpenDocument() = default;
  virtual DocumentInfo info() const = 0;
  virtual Result<PageText> page(uint32_t index) = 0;
  virtual Result<std::vector<OutlineEntry>> outline() = 0;
  // At most kMaxRenderWidth pixels wide.
  virtual Result<PageImage> render(uint32_t index, uint32_t width_px) = 0;
};

enum class Format { Pdf, Epub, Html, Markdown, Text };

// By content where it tells, else by the ending of `name`. Corrupt when the content belies the name, Unsupported for
// anything that is no document.
Result<Format> format_of(std::string_view bytes, std::string_view name);

// `bytes` must outlive the document. Return Corrupt, Locked, Unsupported.
Result<std::unique_ptr<OpenDocument>> open_pdf(std::string_view bytes, const std::string& password);
Result<std::unique_ptr<OpenDocument>> open_flow(std::string_view bytes, Format format);

}  // namespace longleaf::worker
