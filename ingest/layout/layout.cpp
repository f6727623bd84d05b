#include "ingest/layout/layout.h"

#include <iterator>

#include "ingest/layout/running_heads.h"

namespace longleaf {

std::vector<Block> lay_out(const std::vector<PageText>& pages) {
  std::vector<std::vector<Line>> lines;
  for (const PageText& page : pages) lines.push_back(read_lines(page));
  remove_running_heads(lines);
  const Setting setting = setting_of(lines);
  std::vector<Block> blocks;
  for (size_t p = 0; p < lines.size(); ++p) {
    auto more = make_blocks(static_cast<int>(p), lines[p], setting);
    blocks.insert(blocks.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  return blocks;
}

}  // namespace longleaf
