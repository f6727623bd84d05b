// PDFs place right-to-left text by position; these put it back into the order it is read. Any thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/reader/page_text.h"

namespace longleaf {

// Most letters are Hebrew, Arabic or of another script written from right to left.
bool is_right_to_left(const std::vector<Word>& line);
bool is_right_to_left(const Word& word);  // has such a letter

// words  of one line, left to right as they stand on the page; each with its letters from left to right
// Turns right-to-left words and the order of the line; numbers and Latin words in between keep theirs.
void to_reading_order(std::vector<Word>& line);

}  // namespace longleaf
