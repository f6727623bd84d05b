#include "ingest/layout/layout.h"

#include <iterator>

#include "ingest/layout/known_blocks.h"
#include "ingest/layout/running_heads.h"

namespace longleaf {

std::vector<Block> lay_out(std::vector<PageText> pages) {
  std::vector<std::vector<Line>> lines;
  for (PageText& page : pages) {
    lines.push_back(page.blocks.empty() ? read_lines(page) : std::vector<Line>());
    if (page.blocks.empty()) page.words = {};
  }
  remove_running_heads(lines);
  const Setting setting = setting_of(lines);
  std::vector<Block> blocks;
  for (size_t p = 0; p < lines.size(); ++p) {
    auto more = pages[p].blocks.empty() ? make_blocks(static_cast<int>(p), lines[p], setting)
                                        : known_blocks(static_cast<int>(p), pages[p]);
    lines[p] = {};
    blocks.insert(blocks.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return blocks;
}

}  // namespace longleaf
