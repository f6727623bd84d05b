// Layout and section tree on any words at any places. No word may be lost, none invented, and leaves hold every block.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>

#include "ingest/layout/layout.h"
#include "ingest/structure/sections.h"

using namespace longleaf;

namespace {

Word word_from(FuzzedDataProvider& data) {
  Word word;
  word.text = data.ConsumeRandomLengthString(12);
  if (word.text.empty()) word.text = "a";
  const float x = data.ConsumeFloatingPointInRange(0.0f, 1.0f), y = data.ConsumeFloatingPointInRange(0.0f, 1.0f);
  word.box = {x, y, std::min(1.0f, x + data.ConsumeFloatingPointInRange(0.0f, 0.3f)),
              std::min(1.0f, y + data.ConsumeFloatingPointInRange(0.0f, 0.1f))};
  word.size_pt = data.ConsumeFloatingPointInRange(0.0f, 50.0f);
  const auto flags = data.ConsumeIntegral<uint16_t>();
  word.bold = (flags & 1) != 0, word.italic = (flags & 2) != 0, word.fixed_pitch = (flags & 4) != 0;
  word.underlined = (flags & 8) != 0, word.space_after = (flags & 16) != 0, word.hidden = (flags & 224) == 224;
  word.turns = flags >> 8 & 3;
  word.font = flags >> 10;
  return word;
}

PageText page_from(FuzzedDataProvider& data, int index) {
  PageText page;
  page.index = index;
  page.width_pt = data.ConsumeFloatingPointInRange(1.0f, 2000.0f);
  page.height_pt = data.ConsumeFloatingPointInRange(1.0f, 2000.0f);
  const auto n = data.ConsumeIntegralInRange<int>(0, 200);
  for (int i = 0; i < n && data.remaining_bytes() > 0; ++i) page.words.push_back(word_from(data));
  const bool knows_blocks = data.ConsumeIntegralInRange<int>(0, 7) == 0;
  for (uint32_t w = 0; knows_blocks && w < page.words.size(); w += 1 + data.ConsumeIntegralInRange<uint32_t>(0, 9))
    page.blocks.push_back(
        {w, static_cast<BlockKind>(data.ConsumeIntegralInRange<int>(0, 8)), w > 0 && data.ConsumeBool()});
  return page;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  FuzzedDataProvider data(bytes, size);
  std::vector<PageText> pages;
  while (data.remaining_bytes() > 0 && pages.size() < 12)
    pages.push_back(page_from(data, static_cast<int>(pages.size())));
  std::vector<OutlineEntry> outline;
  for (int i = data.ConsumeIntegralInRange<int>(0, 5); i > 0; --i)
    outline.push_back({data.ConsumeIntegralInRange<int>(0, 40), data.ConsumeRandomLengthString(10),
                       data.ConsumeIntegralInRange<int>(-1, 20), data.ConsumeFloatingPointInRange(0.0f, 1.0f)});
  LeafLimits limits;
  limits.target_tokens = 16;
  limits.count = estimate_tokens;
  const SectionTree tree = make_sections(lay_out(pages), outline, "Fuzzed", limits);
  size_t covered = 0;
  for (const TreeNode& node : tree.nodes) {
    if (node.kind != NodeKind::Leaf) continue;
    if (node.block_first != static_cast<int>(covered)) std::abort();
    covered = static_cast<size_t>(node.block_end);
  }
  if (covered != tree.blocks.size()) std::abort();
  for (const Block& block : tree.blocks)
    for (const WordPlace& word : block.words)
      if (size_t{word.offset} + word.length > block.text.size()) std::abort();
  return 0;
}
