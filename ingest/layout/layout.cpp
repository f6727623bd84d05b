#include "ingest/layout/layout.h"

#include <iterator>

#include "ingest/layout/known_blocks.h"

namespace longleaf {

void Layout::learn(int number, const PageText& page) {
  if (!page.blocks.empty()) return;
  watermarks_.learn(page);
  const auto lines = read_lines(page);
  heads_.learn(number, lines);
  numbers_.learn(lines);
  counts_.learn(lines);
}

std::vector<Block> Layout::blocks_of(int number, PageText page) {
  if (!page.blocks.empty()) return known_blocks(number, page);
  if (!setting_) setting_ = counts_.setting();
  watermarks_.remove_from(page);
  auto lines = read_lines(page);
  heads_.remove_from(number, lines);
  return make_blocks(number, lines, *setting_);
}

std::vector<Block> lay_out(const std::vector<PageText>& pages) {
  Layout layout;
  for (size_t p = 0; p < pages.size(); ++p) layout.learn(static_cast<int>(p), pages[p]);
  std::vector<Block> blocks;
  for (size_t p = 0; p < pages.size(); ++p) {
    auto more = layout.blocks_of(static_cast<int>(p), pages[p]);
    blocks.insert(blocks.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return blocks;
}

}  // namespace longleaf
