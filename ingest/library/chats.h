// Conversations about a document, with the citations of every answer. Uses a Library: its thread.
#pragma once

#include <string>
#include <vector>

#include "ingest/library/library.h"

namespace longleaf {

struct CitationRow {
  std::string sentence;    // of the answer
  bool supported = false;  // false: nothing in the evidence carries it
  int page = -1;           // from 0
  std::string quote;       // the words of the document
  std::vector<Box> boxes;
};

struct MessageRow {
  int64_t key = 0;
  std::string question, answer, evidence;
  std::vector<CitationRow> citations;
};

// The document's newest chat, made when there is none.
Result<int64_t> current_chat(Library& library, int64_t document);
Result<int64_t> new_chat(Library& library, int64_t document);
// Stores question, answer and citations together.
Status add_message(Library& library, int64_t chat, const MessageRow& message);
Result<std::vector<MessageRow>> messages(Library& library, int64_t chat);

}  // namespace longleaf
