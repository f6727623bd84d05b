// From blocks to the section tree and its leaves. Pure functions: any thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ingest/layout/blocks.h"

namespace longleaf {

struct LeafLimits {
  int target_tokens = 256;
  // Tokens of a text. The document is cut before any model is known, so this is an estimate (estimate_tokens).
  std::function<int(std::string_view)> count;
};

enum class NodeKind : uint8_t { Section, Leaf };

// Nodes in reading order, parents before children; node 0 is the document itself, a section of level 0.
struct TreeNode {
  NodeKind kind = NodeKind::Section;
  int parent = -1;
  int level = 0;
  std::string title;  // of a section; empty for a leaf
  int page_first = 0, page_last = 0;
  int tokens = 0;                      // a leaf's own; a section's leaves together
  int block_first = 0, block_end = 0;  // a leaf's blocks
};

// Of which block as given a block of the tree is a part, and where in its text it begins.
struct BlockOrigin {
  int block = 0;
  uint32_t begin = 0;
};

struct SectionTree {
  std::vector<Block> blocks;         // as given, but headings marked and blocks beyond the target cut
  std::vector<BlockOrigin> origins;  // of each block
  std::vector<TreeNode> nodes;
  std::string printed_title;  // of the first page; empty: none was found
};

// A number that follows most tokenizers of English within a fifth: word pieces of four letters, marks, digits.
int estimate_tokens(std::string_view text);

// The words of bytes [begin, end) of a block's text, as words of that part.
std::vector<WordPlace> words_within(const std::vector<WordPlace>& words, size_t begin, size_t end);

// Headings come from the outline where it has usable entries, else from typography and numbering; long stretches
// without any are cut by topic.
//   blocks  their words are not needed here: where they are left out, words_within and the origins tell them apart
//   title   of the document, for node 0
SectionTree make_sections(std::vector<Block> blocks, const std::vector<OutlineEntry>& outline, const std::string& title,
                          const LeafLimits& limits);

}  // namespace longleaf
