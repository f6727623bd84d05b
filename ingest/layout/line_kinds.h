// What each line of a page is by itself and its neighbours, before lines are joined. Pure functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

// One kind per line. Headings are not told here: they show only against the whole document.
std::vector<BlockKind> kinds_of(const std::vector<Line>& lines, const Setting& setting);

bool is_bullet(const std::string& word);
// "1." "(a)" "iv)" "12)" – but not "3.2", which numbers a heading.
bool is_enumerator(const std::string& word);

}  // namespace longleaf
