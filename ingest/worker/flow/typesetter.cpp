#include "ingest/worker/flow/typesetter.h"

#include <algorithm>
#include <array>
#include <optional>

#include "ingest/worker/flow/html.h"
#include "ingest/worker/flow/pieces.h"

namespace longleaf::worker {
namespace {

// Points.
constexpr float kPageWidth = 480, kMargin = 40, kColumn = kPageWidth - 2 * kMargin;
constexpr float kFullPage = 600;     // a page this full ends with its paragraph
constexpr float kLongestPage = 720;  // a longer paragraph goes on on the next page
constexpr float kShortestPage = 200;
constexpr float kBodySize = 11, kCodeSize = 9.5f;
constexpr std::array<float, 7> kHeadingSizes = {kBodySize, 20, 16, 14, 12.5f, 11.5f, 11};
constexpr float kLeading = 1.35f, kParagraphGap = 7, kItemGap = 3, kRowGap = 4;
constexpr float kIndent = 18;
constexpr float kCellGap = 16, kShortestRow = 0.5f;  // a row is set smaller, down to this share, before it is wrapped

std::string text_of(const FlowBlock& block) {
  std::string text;
  for (const FlowRun& run : block.runs)
    if (!run.hidden) text += run.text;
  return simplified(text);
}

class Typesetter {
 public:
  explicit Typesetter(const Flow& flow) : flow_(flow) {}

  SetPages run() {
    for (size_t i = 0; i < flow_.blocks.size();) {
      const FlowBlock& block = flow_.blocks[i];
      begin_block(block);
      if (block.kind == FlowKind::TableRow) {
        i = set_table(i);
      } else {
        set_block(block);
        ++i;
      }
    }
    close_page();
    if (out_.pages.empty()) open_page(), y_ = kMargin, close_page();  // an empty document has an empty page
    return std::move(out_);
  }

 private:
  struct Look {
    float size, left, gap;
    bool bold = false;
  };

  void begin_block(const FlowBlock& block) {
    const bool major = block.kind == FlowKind::Heading && block.level == 1;
    if (block.starts_chapter || major) {
      if (!page_ || !page_->words.empty()) close_page();
      if (block.starts_chapter || chapter_ == 0 || paragraph_ > 0) ++chapter_, paragraph_ = 0;
    }
    // A heading stays with what follows it.
    if (block.kind == FlowKind::Heading && y_ > kFullPage - 60) close_page();
    if (!page_) open_page();
    if (block.kind != FlowKind::Heading) ++paragraph_;
    const std::string title = block.kind == FlowKind::Heading ? text_of(block) : block.name;
    if (title.empty()) return;
    const int level = block.kind == FlowKind::Heading ? std::max(0, block.level - 1) : 0;
    out_.outline.push_back({level, title, page_->index, y_});  // in points until the page is closed
  }

  static Look look_of(const FlowBlock& block) {
    const float left = kMargin + kIndent * static_cast<float>(block.level);
    switch (block.kind) {
      case FlowKind::Heading:
        return {kHeadingSizes[static_cast<size_t>(std::clamp(block.level, 1, 6))], kMargin, 2 * kParagraphGap, true};
      case FlowKind::ListItem:
        return {kBodySize, left + kIndent / 2, kItemGap};
      case FlowKind::Code:
        return {kCodeSize, left + kIndent, kParagraphGap};
      default:
        return {kBodySize, left, kParagraphGap};
    }
  }

  static BlockKind kind_of(FlowKind kind) {
    switch (kind) {
      case FlowKind::Heading:
        return BlockKind::Heading;
      case FlowKind::ListItem:
        return BlockKind::ListItem;
      case FlowKind::TableRow:
        return BlockKind::TableRow;
      case FlowKind::Code:
        return BlockKind::Code;
      case FlowKind::Paragraph:
        break;
    }
    return BlockKind::Paragraph;
  }

  void start(BlockKind kind, bool is_cell = false) {
    const auto word = static_cast<uint32_t>(page_->words.size());
    if (page_->blocks.empty() || page_->blocks.back().word != word)
      page_->blocks.push_back({word, kind, is_cell && !page_->blocks.empty()});
  }

  void set_block(const FlowBlock& block) {
    const Look look = look_of(block);
    y_ += page_->words.empty() ? 0 : look.gap;
    set_lines(block, look);
    if (y_ >= kFullPage) close_page();
  }

  void set_lines(const FlowBlock& block, const Look& look) {
    const float width = kMargin + kColumn - look.left;
    const auto pieces = pieces_of(block.runs, width / look.size);
    const bool mirrored = reads_right_to_left(block.runs);
    for (size_t first = 0; first < pieces.size();) {
      if (!page_ || y_ + look.size * kLeading > kLongestPage) close_page(), open_page();
      if (first == 0 || page_->words.empty()) start(kind_of(block.kind));
      const bool keeps_indent = block.kind == FlowKind::Code;
      float x =
          keeps_indent ? std::min(width / 2, static_cast<float>(pieces[first].spaces_before) * 0.6f * look.size) : 0;
      size_t i = first;
      for (bool fits = true; i < pieces.size() && fits; ++i) {
        if (i > first && x + pieces[i].em * look.size > width) break;
        set_piece(pieces[i], block.kind == FlowKind::Code, look, mirrored ? look.left + width - x : look.left + x,
                  mirrored);
        x += (pieces[i].em + (pieces[i].space_after ? width_of(' ', pieces[i].run->fixed_pitch) : 0)) * look.size;
        fits = !pieces[i].break_after;
      }
      first = i;
      y_ += look.size * kLeading;
    }
  }

  // `x` is the edge it begins at: the right one where text runs to the left.
  void set_piece(const Piece& piece, bool code, const Look& look, float x, bool mirrored) {
    const float width = piece.em * look.size, top = y_ + look.size * (kLeading - 1) / 2;
    Word word;
    word.text = piece.text;
    word.box = {mirrored ? x - width : x, top, mirrored ? x : x + width, top + look.size};
    word.size_pt = look.size;
    word.bold = piece.run->bold || look.bold;
    word.italic = piece.run->italic;
    word.fixed_pitch = piece.run->fixed_pitch || code;
    word.space_after = piece.space_after;
    word.hidden = piece.run->hidden;
    word.font = static_cast<uint16_t>(1 + word.bold + 2 * word.italic + 4 * word.fixed_pitch);
    page_->words.push_back(std::move(word));
  }

  // The rows of one table, in columns; `first` is its first row. Returns the block behind it.
  size_t set_table(size_t first) {
    size_t end = first;
    std::vector<float> columns;  // widths in em
    for (; end < flow_.blocks.size() && is_row_of(flow_.blocks[end], flow_.blocks[first].table); ++end) {
      std::vector<float> widths;
      for (const Piece& piece : pieces_of(flow_.blocks[end].runs, 1e9f)) {
        const auto cell = static_cast<size_t>(piece.run->cell);
        if (widths.size() <= cell) widths.resize(cell + 1, 0);
        widths[cell] += piece.em + width_of(' ', false);
      }
      if (columns.size() < widths.size()) columns.resize(widths.size(), 0);
      for (size_t c = 0; c < widths.size(); ++c) columns[c] = std::max(columns[c], widths[c]);
    }
    float total = 0;
    for (const float width : columns) total += width * kBodySize;
    const float room = kColumn - kCellGap * static_cast<float>(columns.size());
    const float share = total <= room ? 1 : room / total;
    y_ += page_->words.empty() ? 0 : kParagraphGap;
    for (size_t i = first; i < end; ++i) {
      if (i > first) begin_block(flow_.blocks[i]);
      if (share >= kShortestRow)
        set_row(flow_.blocks[i], columns, kBodySize * share);
      else
        set_wrapped_row(flow_.blocks[i]);
      y_ += kRowGap;
      if (y_ >= kFullPage) close_page();
    }
    return end;
  }

  static bool is_row_of(const FlowBlock& block, int table) {
    return block.kind == FlowKind::TableRow && block.table == table;
  }

  void set_row(const FlowBlock& block, const std::vector<float>& columns, float size) {
    const Look look{size, kMargin, 0};
    const bool mirrored = reads_right_to_left(block.runs);
    std::vector<float> left{0};
    for (const float width : columns) left.push_back(left.back() + width * size + kCellGap);
    int cell = -1;
    float x = 0;
    for (const Piece& piece : pieces_of(block.runs, 1e9f)) {
      if (piece.run->cell != cell) {
        start(BlockKind::TableRow, cell >= 0);
        cell = piece.run->cell;
        x = left[static_cast<size_t>(cell)];
      }
      set_piece(piece, false, look, mirrored ? kMargin + kColumn - x : kMargin + x, mirrored);
      x += (piece.em + (piece.space_after ? width_of(' ', false) : 0)) * size;
    }
    y_ += size * kLeading;
  }

  // Too wide for columns: a paragraph, with the mark that parts cells everywhere else.
  void set_wrapped_row(const FlowBlock& block) {
    FlowBlock paragraph{FlowKind::TableRow, 0, 0, false, {}, {}};
    for (const FlowRun& run : block.runs) {
      if (!paragraph.runs.empty() && paragraph.runs.back().cell != run.cell) paragraph.runs.back().text += " | ";
      paragraph.runs.push_back(run);
    }
    set_lines(paragraph, {kBodySize, kMargin, 0});
  }

  void open_page() {
    page_.emplace();
    page_->index = static_cast<int>(out_.pages.size());
    page_->width_pt = kPageWidth;
    page_->label = "§" + std::to_string(std::max(chapter_, 1)) + " ¶" + std::to_string(paragraph_ + 1);
    y_ = kMargin;
  }

  // Now its height is known, and boxes become shares of it.
  void close_page() {
    if (!page_) return;
    const float height = std::max(kShortestPage, y_ + kMargin);
    page_->height_pt = height;
    for (Word& word : page_->words)
      word.box = {std::clamp(word.box.x0 / kPageWidth, 0.0f, 1.0f), word.box.y0 / height,
                  std::clamp(word.box.x1 / kPageWidth, 0.0f, 1.0f), word.box.y1 / height};
    for (auto entry = out_.outline.rbegin(); entry != out_.outline.rend() && entry->page == page_->index; ++entry)
      entry->top = std::min(1.0f, entry->top / height);
    out_.pages.push_back(std::move(*page_));
    page_.reset();
    y_ = kMargin;
  }

  const Flow& flow_;
  SetPages out_;
  std::optional<PageText> page_;
  float y_ = kMargin;
  int chapter_ = 0, paragraph_ = 0;
};

}  // namespace

SetPages set_pages(const Flow& flow) { return Typesetter(flow).run(); }

}  // namespace longleaf::worker
