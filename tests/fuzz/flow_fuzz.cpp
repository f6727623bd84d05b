// The formats without pages on any bytes: what is set stays on its page.
#include <cstdlib>

#include "ingest/worker/flow/epub.h"
#include "ingest/worker/flow/html.h"
#include "ingest/worker/flow/plain_text.h"
#include "ingest/worker/flow/typesetter.h"

using namespace longleaf;
using namespace longleaf::worker;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  Flow flow;
  const Status status = data[0] % 4 == 0   ? read_epub(bytes, flow)
                        : data[0] % 4 == 1 ? read_html(bytes, flow)
                        : data[0] % 4 == 2 ? read_markdown(bytes, flow)
                                           : read_plain_text(bytes, flow);
  if (!status.ok()) return 0;
  const SetPages set = set_pages(flow);
  for (const PageText& page : set.pages)
    for (const Word& word : page.words)
      if (word.text.empty() || word.box.x0 < 0 || word.box.x1 > 1 || word.box.y0 < 0 || word.box.y1 > 1) std::abort();
  for (const OutlineEntry& entry : set.outline)
    if (entry.page < 0 || entry.page >= static_cast<int>(set.pages.size())) std::abort();
  return 0;
}
