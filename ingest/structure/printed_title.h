// The title a document prints on its first page. Pure function: any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

struct PrintedTitle {
  int first = 0, end = 0;  // its blocks
  std::string text;
};

// The largest text of the first page that has any, if it is clearly larger than what the document is set in.
std::optional<PrintedTitle> printed_title(const std::vector<Block>& blocks);

}  // namespace longleaf
