// From the words of all pages to the document's blocks in reading order, a page at a time, so that memory does not grow
// with the document. Not thread-safe: one thread owns it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ingest/layout/blocks.h"
#include "ingest/layout/page_numbers.h"
#include "ingest/layout/running_heads.h"
#include "ingest/layout/watermarks.h"

namespace longleaf {

class Layout {
 public:
  // Every page is learnt first, in order: how the document is set, and what returns on its pages.
  void learn(int number, const PageText& page);
  // What to call each page, from its printed numbers; empty where these tell nothing. After all pages were learnt.
  std::vector<std::string> page_labels() const { return numbers_.labels(); }
  // Then each page has its blocks. REQUIRES: it was learnt.
  std::vector<Block> blocks_of(int number, PageText page);

 private:
  Watermarks watermarks_;
  RunningHeads heads_;
  PageNumbers numbers_;
  SettingCounts counts_;
  std::optional<Setting> setting_;  // once all is learnt
};

// All pages of a document at once.
std::vector<Block> lay_out(const std::vector<PageText>& pages);

}  // namespace longleaf
