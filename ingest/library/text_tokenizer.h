// How full-text search cuts text into words: FTS5's porter and unicode61 (case, endings and diacritics ignored), and
// scripts written without spaces character by character, so that "漢字" is found inside "漢字仮名". Any thread.
#pragma once

struct sqlite3;

namespace longleaf {

// Makes the tokenizer "longleaf" known to a connection. Returns an SQLite result code.
int register_text_tokenizer(sqlite3* connection);

}  // namespace longleaf
