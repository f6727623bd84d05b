#include "ingest/structure/sections.h"

#include <algorithm>
#include <cctype>

#include "ingest/structure/headings.h"
#include "ingest/structure/printed_title.h"
#include "ingest/structure/sentences.h"
#include "ingest/structure/topics.h"

namespace longleaf {
namespace {

// Bytes [begin, end) of a block as a block of its own.
Block slice(const Block& block, size_t begin, size_t end) {
  Block part = block;
  part.text = block.text.substr(begin, end - begin);
  part.words = words_within(block.words, begin, end);
  for (size_t i = 0; i < part.words.size(); ++i)
    part.box = i == 0 ? part.words[i].box : united(part.box, part.words[i].box);
  return part;
}

std::vector<Range> lines_of(const std::string& text) {
  std::vector<Range> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    lines.push_back({begin, end});
    begin = end;
  }
  return lines;
}

// Where a block that is too long may be cut: sentence ends, of code line ends, else spaces, else (text without any)
// characters.
std::vector<size_t> cut_points(const Block& block, const LeafLimits& limits) {
  const std::string& text = block.text;
  std::vector<size_t> points;
  size_t begin = 0;
  for (const Range& sentence : block.kind == BlockKind::Code ? lines_of(text) : sentences(text)) {
    if (limits.count(std::string_view(text).substr(sentence.begin, sentence.end - sentence.begin)) <=
        limits.target_tokens) {
      points.push_back(sentence.end);
      continue;
    }
    begin = sentence.begin;
    // One token has at least one byte, so pieces of at most target_tokens bytes always fit.
    const auto step = static_cast<size_t>(limits.target_tokens);
    while (begin + step < sentence.end) {
      size_t end = text.rfind(' ', begin + step);
      if (end == std::string::npos || end <= begin) {
        end = begin + step;
        while (end > begin + 1 && (text[end] & 0xC0) == 0x80) --end;
      }
      points.push_back(begin = end);
    }
    points.push_back(sentence.end);
  }
  return points;
}

// Where the parts of a block begin.
std::vector<size_t> beginnings_of_parts(const Block& block, const LeafLimits& limits) {
  std::vector<size_t> beginnings = {0};
  if (limits.count(block.text) <= limits.target_tokens) return beginnings;
  size_t end = 0;
  for (size_t point : cut_points(block, limits)) {
    const size_t begin = beginnings.back();
    const auto text = std::string_view(block.text).substr(begin, point - begin);
    if (end > begin && limits.count(text) > limits.target_tokens) beginnings.push_back(end);
    end = point;
  }
  if (beginnings.back() == block.text.size()) beginnings.pop_back();
  return beginnings;
}

class Builder {
 public:
  Builder(SectionTree& tree, const LeafLimits& limits, const std::string& title) : tree_(tree), limits_(limits) {
    tree_.nodes.push_back({NodeKind::Section, -1, 0, title, 0, 0, 0, 0, 0});
    path_ = {0};
  }

  void open_section(const Heading& heading, int page) {
    close_leaf();
    while (path_.size() > 1 && node(path_.back()).level >= heading.level) path_.pop_back();
    // A level that skips (1 → 3) hangs under what is there.
    tree_.nodes.push_back({NodeKind::Section, path_.back(), heading.level, heading.title, page, page, 0, 0, 0});
    path_.push_back(static_cast<int>(tree_.nodes.size()) - 1);
  }

  void add_block(int index) {
    const Block& block = tree_.blocks[static_cast<size_t>(index)];
    const int tokens = limits_.count(block.text);
    if (leaf_ >= 0 && node(leaf_).tokens + tokens > limits_.target_tokens) close_leaf();
    if (leaf_ < 0) {
      tree_.nodes.push_back(
          {NodeKind::Leaf, path_.back(), node(path_.back()).level + 1, "", block.page, block.page, 0, index, index});
      leaf_ = static_cast<int>(tree_.nodes.size()) - 1;
    }
    node(leaf_).tokens += tokens;
    node(leaf_).block_end = index + 1;
    node(leaf_).page_last = block.page;
  }

  void finish() {
    close_leaf();
    for (size_t i = tree_.nodes.size(); i-- > 1;) {
      TreeNode& child = tree_.nodes[i];
      TreeNode& parent = node(child.parent);
      parent.tokens += child.tokens;
      parent.page_last = std::max(parent.page_last, child.page_last);
    }
  }

 private:
  TreeNode& node(int index) { return tree_.nodes[static_cast<size_t>(index)]; }
  void close_leaf() { leaf_ = -1; }
  SectionTree& tree_;
  const LeafLimits& limits_;
  std::vector<int> path_;
  int leaf_ = -1;
};

}  // namespace

int estimate_tokens(std::string_view text) {
  int tokens = 0;
  size_t run = 0;
  const auto flush = [&] { tokens += static_cast<int>((run + 4) / 5), run = 0; };
  for (unsigned char c : text) {
    if (std::isalpha(c) != 0 || c >= 0x80) {
      ++run;
      continue;
    }
    flush();
    if (c != ' ' && c != '\n') ++tokens;
  }
  flush();
  return tokens;
}

std::vector<WordPlace> words_within(const std::vector<WordPlace>& words, size_t begin, size_t end) {
  std::vector<WordPlace> within;
  for (WordPlace word : words) {
    if (word.offset < begin || word.offset >= end) continue;
    word.length = static_cast<uint16_t>(std::min<size_t>(word.length, end - word.offset));
    word.offset -= static_cast<uint32_t>(begin);
    within.push_back(word);
  }
  return within;
}

SectionTree make_sections(std::vector<Block> blocks, const std::vector<OutlineEntry>& outline, const std::string& title,
                          const LeafLimits& limits) {
  std::vector<int> tokens;
  for (const Block& block : blocks) tokens.push_back(limits.count(block.text));
  const auto headings = with_topics(blocks, tokens, find_headings(blocks, outline));
  SectionTree tree;
  if (const auto printed = printed_title(blocks)) {
    tree.printed_title = printed->text;
    for (int i = printed->first; i < printed->end; ++i) blocks[static_cast<size_t>(i)].kind = BlockKind::Heading;
  }
  Builder builder(tree, limits, title);
  size_t next = 0;
  for (size_t i = 0; i < blocks.size(); ++i) {
    bool is_heading = false;
    for (; next < headings.size() && headings[next].block == static_cast<int>(i); ++next) {
      builder.open_section(headings[next], blocks[i].page);
      is_heading |= headings[next].is_block;
    }
    if (is_heading) blocks[i].kind = BlockKind::Heading;
    const auto beginnings = beginnings_of_parts(blocks[i], limits);
    for (size_t part = 0; part < beginnings.size(); ++part) {
      const bool last = part + 1 == beginnings.size();
      tree.origins.push_back({static_cast<int>(i), static_cast<uint32_t>(beginnings[part])});
      tree.blocks.push_back(beginnings.size() == 1 ? std::move(blocks[i])
                                                   : slice(blocks[i], beginnings[part],
                                                           last ? blocks[i].text.size() : beginnings[part + 1]));
      builder.add_block(static_cast<int>(tree.blocks.size()) - 1);
    }
  }
  builder.finish();
  return tree;
}

}  // namespace longleaf
