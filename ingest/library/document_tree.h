// Lays out the pages of a document that were read, and stores its section tree. Uses a Library: its thread.
#pragma once

#include <stop_token>

#include "ingest/library/library.h"

namespace longleaf {

// From the words that pages and the outline rows hold; these are dropped afterwards, but for recognised pages. One
// transaction at the end: a crash leaves what was there before. A document that is Ready keeps its tree unless
// `replace`. Returns Cancelled, and what Database returns.
Status make_tree(Library& library, const DocumentRow& document, std::stop_token stop, bool replace);

// Keeps the file's outline for make_tree.
Status store_outline(Database& db, int64_t document, const std::vector<OutlineEntry>& outline);

}  // namespace longleaf
