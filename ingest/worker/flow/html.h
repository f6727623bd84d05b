// HTML and XHTML to a flow, through libxml2's forgiving parser. Scripts, styles and pictures are left out; text that
// the page hides stays, marked as hidden. Any thread.
#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "ingest/worker/flow/flow.h"

namespace longleaf::worker {

// Appends the blocks of `bytes` to `flow`, and gives it the page's title if it has none. Corrupt for what no parser
// makes sense of.
Status read_html(std::string_view bytes, Flow& flow);

// Spaces of any kind, one after the other, as one; none at the ends.
std::string simplified(std::string_view text);

}  // namespace longleaf::worker
