// Sets a flow on pages, so that everything behind the reader works as for a PDF: boxes, outline, citations, the page
// view. Widths come from a table of our own, never from a font of the machine: a page, and a box on it, is the same
// everywhere and for ever. Any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/reader/page_text.h"
#include "ingest/worker/flow/flow.h"

namespace longleaf::worker {

struct SetPages {
  std::vector<PageText> pages;  // labelled by chapter and paragraph: "§3 ¶12"
  std::vector<OutlineEntry> outline;
};

SetPages set_pages(const Flow& flow);

}  // namespace longleaf::worker
