// Finds watermarks: large words that lie across the text of most pages at one place. Not thread-safe: one thread owns
// it.
#pragma once

#include <unordered_map>

#include "ingest/reader/page_text.h"

namespace longleaf {

class Watermarks {
 public:
  void learn(const PageText& page);
  // Takes them out of a page, after all pages were learnt.
  void remove_from(PageText& page) const;

 private:
  struct Seen {
    int pages = 0;
    int across = 0;  // of these, pages whose text it lies over
  };
  std::unordered_map<size_t, Seen> seen_;  // by the word's text, size and place
  int pages_ = 0;
};

}  // namespace longleaf
