// Documents without pages of their own (EPUB, HTML, Markdown, plain text) as one run of blocks. Plain values.
#pragma once

#include <string>
#include <vector>

namespace longleaf::worker {

enum class FlowKind { Paragraph, Heading, ListItem, TableRow, Code };

// Text of one look. A newline is a forced line break.
struct FlowRun {
  std::string text;  // UTF-8
  bool bold = false, italic = false, fixed_pitch = false, hidden = false;
  int cell = 0;  // of a table row

  bool looks_like(const FlowRun& other) const {
    return bold == other.bold && italic == other.italic && fixed_pitch == other.fixed_pitch && hidden == other.hidden &&
           cell == other.cell;
  }
};

struct FlowBlock {
  FlowKind kind = FlowKind::Paragraph;
  int level = 0;  // of a heading: 1 outermost; of a list item or quotation: depth from 0
  int table = 0;  // rows of one table have one number
  bool starts_chapter = false;
  std::string name;  // of a chapter that has no heading; empty otherwise
  std::vector<FlowRun> runs;
};

struct Flow {
  std::string title, author;
  std::vector<FlowBlock> blocks;
};

}  // namespace longleaf::worker
