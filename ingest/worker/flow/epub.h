// EPUB 2 and 3: the pages of the spine, in its order, through libzip. Any thread.
#pragma once

#include <string_view>

#include "engine/base/status.h"
#include "ingest/worker/flow/flow.h"

namespace longleaf::worker {

// Corrupt for a broken archive or package, Unsupported for a protected book.
Status read_epub(std::string_view bytes, Flow& flow);

}  // namespace longleaf::worker
