#include "ingest/layout/blocks.h"
#include "ingest/layout/running_heads.h"
#include "tests/support/check.h"

using namespace longleaf;

namespace {

// Words of 0.05 width on a line of 0.015 height.
void add_line(PageText& page, float x, float y, const std::string& text, float size = 11, bool bold = false) {
  size_t begin = 0;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const float width = 0.009f * static_cast<float>(end - begin);
    page.words.push_back({text.substr(begin, end - begin),
                          {x, y, x + width, y + 0.013f * size / 11},
                          size,
                          bold,
                          false,
                          end < text.size()});
    x += width + 0.005f;
    begin = end + 1;
  }
}

PageText empty_page() { return {0, 595, 842, "", {}}; }

}  // namespace

TEST(lines_of_a_paragraph_become_one_block_and_hyphens_are_undone) {
  PageText page = empty_page();
  add_line(page, 0.1f, 0.20f, "The valve has to be main-");
  add_line(page, 0.1f, 0.217f, "tained with well-known care");
  const auto blocks = make_blocks(0, make_lines(page));
  REQUIRE(blocks.size() == 1);
  CHECK_EQ(blocks[0].text, std::string("The valve has to be maintained with well-known care"));
  // Both halves of the broken word keep their boxes.
  const size_t at = blocks[0].text.find("maintained");
  CHECK_EQ(boxes_of(blocks[0], at, at + 10).size(), size_t{2});
}

TEST(a_gap_a_larger_font_and_a_list_mark_open_blocks) {
  PageText page = empty_page();
  add_line(page, 0.1f, 0.10f, "A heading", 18, true);
  add_line(page, 0.1f, 0.14f, "Body text of one line.");
  add_line(page, 0.1f, 0.19f, "After a gap.");
  add_line(page, 0.1f, 0.207f, "\u2022 first point");
  add_line(page, 0.1f, 0.224f, "\u2022 second point");
  const auto blocks = make_blocks(0, make_lines(page));
  REQUIRE(blocks.size() == 5);
  CHECK(blocks[3].kind == BlockKind::ListItem && blocks[4].kind == BlockKind::ListItem);
}

TEST(columns_are_not_read_across) {
  PageText page = empty_page();  // poppler gives one column after the other
  add_line(page, 0.1f, 0.20f, "left one");
  add_line(page, 0.1f, 0.217f, "left two");
  add_line(page, 0.55f, 0.20f, "right one");
  add_line(page, 0.55f, 0.217f, "right two");
  const auto blocks = make_blocks(0, make_lines(page));
  REQUIRE(blocks.size() == 2);
  CHECK_EQ(blocks[0].text, std::string("left one left two"));
}

TEST(boxes_cover_just_the_words_asked_for) {
  PageText page = empty_page();
  add_line(page, 0.1f, 0.20f, "one two three");
  const auto blocks = make_blocks(0, make_lines(page));
  const auto boxes = boxes_of(blocks[0], 4, 7);
  REQUIRE(boxes.size() == 1);
  CHECK(boxes[0] == page.words[1].box);
}

TEST(running_heads_and_page_numbers_go_and_chapter_titles_stay) {
  std::vector<std::vector<Line>> pages;
  for (int p = 0; p < 5; ++p) {
    PageText page = empty_page();
    add_line(page, 0.1f, 0.03f, "Manual of pumps, page " + std::to_string(p + 1));
    add_line(page, 0.1f, 0.08f,
             "Title of page " + std::string(1, static_cast<char>('A' + p)) + std::string(static_cast<size_t>(p), 'x'),
             18);
    add_line(page, 0.1f, 0.5f, "Body.");
    add_line(page, 0.5f, 0.95f, std::to_string(p + 1));
    pages.push_back(make_lines(page));
  }
  CHECK_EQ(remove_running_heads(pages), 10);
  for (const auto& page : pages) CHECK_EQ(page.size(), size_t{2});
}
