#include <algorithm>
#include <functional>
#include <numeric>

#include "ingest/structure/contents.h"
#include "ingest/structure/headings.h"
#include "ingest/structure/numbering.h"
#include "ingest/structure/printed_title.h"
#include "ingest/structure/sections.h"
#include "ingest/structure/sentences.h"
#include "ingest/structure/topics.h"
#include "tests/support/check.h"

using namespace longleaf;

namespace {

Block block(int page, const std::string& text, float size = 11, bool bold = false) {
  Block b;
  b.page = page;
  b.text = text;
  b.size_pt = size;
  b.bold = bold;
  b.n_lines = 1;
  b.box = {0.1f, 0.1f, 0.9f, 0.2f};
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    b.words.push_back({static_cast<uint32_t>(begin), static_cast<uint16_t>(end - begin), b.box});
    begin = end + 1;
  }
  return b;
}

const std::string kBody = "This is body text that says something about the machine and goes on for a while.";

LeafLimits limits(int target = 256) {
  LeafLimits l;
  l.target_tokens = target;
  l.count = estimate_tokens;
  return l;
}

std::vector<std::string> section_titles(const SectionTree& tree) {
  std::vector<std::string> titles;
  for (const auto& node : tree.nodes)
    if (node.kind == NodeKind::Section && node.level > 0) titles.push_back(std::to_string(node.level) + node.title);
  return titles;
}

std::string joined(const std::string& text, const std::vector<Range>& ranges) {
  std::string out;
  for (const Range& r : ranges) out += text.substr(r.begin, r.end - r.begin) + "|";
  return out;
}

}  // namespace

TEST(text_without_headings_is_cut_where_its_words_change) {
  // Three subjects, each of 40 paragraphs; the words of one never occur in another.
  const std::vector<std::vector<std::string>> subjects = {{"harpoon", "whale", "captain", "voyage", "sailor"},
                                                          {"enzyme", "protein", "membrane", "receptor", "molecule"},
                                                          {"verdict", "lawyer", "tribunal", "statute", "witness"}};
  std::vector<Block> blocks;
  for (const auto& subject : subjects)
    for (size_t p = 0; p < 40; ++p) {
      std::string text;
      for (size_t w = 0; w < 60; ++w) text += subject[(p * 7 + w * w) % subject.size()] + " and then the other ";
      blocks.push_back(block(static_cast<int>(blocks.size()) / 4, text));
    }
  const std::vector<int> tokens(blocks.size(), 100);
  const auto topics = with_topics(blocks, tokens, {}, {8000, 4000, 8});
  CHECK_EQ(topics.size(), size_t{3});
  for (size_t t = 0; t < topics.size(); ++t) {
    CHECK_EQ(topics[t].block, static_cast<int>(t) * 40);
    CHECK(std::any_of(subjects[t].begin(), subjects[t].end(),
                      [&](const auto& word) { return topics[t].title.find(word) != std::string::npos; }));
  }
}

TEST(a_long_list_of_numbers_is_cut_as_well) {  // in a time that grows with its length: a million lines exist
  std::vector<Block> blocks;
  for (int i = 0; i < 20000; ++i) blocks.push_back(block(i / 50, std::to_string(i * 7919 % 100000)));
  const auto topics = with_topics(blocks, std::vector<int>(blocks.size(), 2), {});
  CHECK(topics.size() >= 8);
}

TEST(a_long_text_without_headings_becomes_a_balanced_tree) {
  std::vector<Block> blocks;
  for (int i = 0; i < 2000; ++i) blocks.push_back(block(i / 10, kBody + " " + std::to_string(i * 7919 % 1000)));
  const auto tree = make_sections(blocks, {}, "Flat", limits());
  std::vector<int> children(tree.nodes.size(), 0);
  for (size_t i = 1; i < tree.nodes.size(); ++i) ++children[static_cast<size_t>(tree.nodes[i].parent)];
  CHECK(*std::max_element(children.begin(), children.end()) <= 20);
  CHECK(children[0] >= 2 && children[0] <= 8);
}

TEST(sections_follow_the_outline_where_there_is_one) {
  const std::vector<Block> blocks = {block(0, "1 Pumps", 18), block(0, kBody),          block(1, "1.1 Feed pump", 14),
                                     block(1, kBody),         block(2, "2 Valves", 18), block(2, kBody)};
  const auto tree =
      make_sections(blocks, {{0, "Pumps", 0, 0}, {1, "Feed pump", 1, 0}, {0, "Valves", 2, 0}}, "Manual", limits());
  CHECK(section_titles(tree) == (std::vector<std::string>{"1Pumps", "2Feed pump", "1Valves"}));
  CHECK(tree.blocks[0].kind == BlockKind::Heading);
}

TEST(without_an_outline_type_and_numbers_make_the_levels) {
  std::vector<Block> blocks;
  for (int i = 0; i < 4; ++i) {
    blocks.push_back(block(i, "Chapter about pumps", 20, true));
    for (int j = 0; j < 2; ++j) {
      blocks.push_back(block(i, "A part of them", 14, true));
      for (int k = 0; k < 3; ++k) blocks.push_back(block(i, kBody));
    }
  }
  const auto titles = section_titles(make_sections(blocks, {}, "Manual", limits()));
  REQUIRE(titles.size() == 12);
  CHECK_EQ(titles[0], std::string("1Chapter about pumps"));
  CHECK_EQ(titles[1], std::string("2A part of them"));
}

namespace {

Block entry(const std::string& text, float indent) {
  Block b = block(0, text);
  b.kind = BlockKind::TocEntry;
  b.left_pt = 50 + indent, b.right_pt = 500;
  return b;
}

// Contents on page 0; the printed page 1 is the third of the file.
std::vector<Block> book_with_contents() {
  std::vector<Block> blocks = {block(0, "Contents", 16, true),     entry("1 Pumps ...... 1", 0),
                               entry("1.1 Feed pump ..... 1", 20), entry("1.2 A pump with a title that .... 2", 20),
                               entry("2 Valves . . . . 3", 0),     entry("3 Missing ... 4", 0)};
  const auto page = [&](int number, std::initializer_list<const char*> titles) {
    for (const char* title : titles) {
      blocks.push_back(block(number, title));  // set as the body is: only the contents give them away
      for (int i = 0; i < 4; ++i) blocks.push_back(block(number, kBody));
    }
  };
  page(2, {"1 Pumps", "1.1 Feed Pump"});
  page(3, {"1.2 A pump with a title that"});
  page(4, {"2 Valves"});
  return blocks;
}

}  // namespace

TEST(printed_contents_name_the_headings_their_pages_and_their_levels) {
  const auto blocks = book_with_contents();
  const auto tables = read_contents(blocks);
  REQUIRE(tables.size() == 1 && tables[0].size() == 5);
  CHECK_EQ(tables[0][1].title, std::string("1.1 Feed pump"));
  CHECK_EQ(tables[0][1].number, 1);
  CHECK_EQ(tables[0][1].level, 2);
  const auto titles = section_titles(make_sections(blocks, {}, "Manual", limits()));
  CHECK(titles == (std::vector<std::string>{"1Contents", "11 Pumps", "21.1 Feed Pump", "21.2 A pump with a title that",
                                            "12 Valves"}));
}

TEST(contents_of_which_little_is_found_are_not_believed) {
  auto blocks = book_with_contents();
  for (Block& b : blocks)
    if (b.page > 0 && b.text.size() < 40 && b.text != "1 Pumps") b.text = "Something else";
  CHECK(headings_from_contents(blocks).empty());
}

TEST(a_number_in_front_of_a_title_is_told_from_the_title) {
  CHECK(numbering_of("3.1.2 Scope").kind == NumberKind::Decimal && numbering_of("3.1.2 Scope").depth == 3);
  CHECK(numbering_of("IV. Scope").kind == NumberKind::Roman);
  CHECK(numbering_of("B. Scope").kind == NumberKind::UpperLetter);
  CHECK(numbering_of("(a) Scope").kind == NumberKind::InBrackets);
  CHECK(numbering_of("ITEM 1A. RISK").kind == NumberKind::Named);
  CHECK(numbering_of("Civil law").kind == NumberKind::None);
  CHECK(numbering_of("2024 was a year").kind == NumberKind::None);
  CHECK_EQ(without_numbering("Chapter 4: Scope"), std::string("Scope"));
  CHECK_EQ(title_key("7.2 The \u201CFeed\u201D-Pump"), title_key("the feed pump"));
}

TEST(what_looks_like_a_heading_but_is_not) {
  std::vector<Block> blocks;
  for (int i = 0; i < 6; ++i) {
    blocks.push_back(block(5 + i, "A section of it", 14, true));
    blocks.push_back(block(5 + i, kBody));
    blocks.push_back(block(5 + i, "Definition " + std::to_string(i), 11, true));  // counted through
    blocks.push_back(block(5 + i, kBody));
    blocks.push_back(block(5 + i, "Bold words that run", 11, true));
    blocks.push_back(block(5 + i, "on in the next line. " + kBody));
    for (int j = 0; j < 4; ++j) blocks.push_back(block(5 + i, kBody));
  }
  for (int j = 0; j < 5; ++j) blocks.push_back(block(11, "Row of a table", 11, true));
  const auto titles = section_titles(make_sections(blocks, {}, "Manual", limits()));
  CHECK(titles == std::vector<std::string>(6, "1A section of it"));
}

namespace {

// Ten chapters on ten pages, each with its title and two paragraphs.
std::vector<Block> ten_chapters() {
  std::vector<Block> blocks;
  for (int p = 0; p < 10; ++p) {
    blocks.push_back(block(p, "The " + std::string(1, static_cast<char>('A' + p)) + " engine", 11));
    blocks.push_back(block(p, kBody));
    blocks.push_back(block(p, kBody));
  }
  return blocks;
}

std::vector<OutlineEntry> outline_of_ten(const std::function<int(int)>& page_of) {
  std::vector<OutlineEntry> outline;
  for (int p = 0; p < 10; ++p)
    outline.push_back({0, "The " + std::string(1, static_cast<char>('A' + p)) + " engine", page_of(p), 0});
  return outline;
}

bool are_found(const std::vector<Heading>& headings) {
  if (headings.size() != 10) return false;
  for (size_t i = 0; i < 10; ++i)
    if (headings[i].block != static_cast<int>(3 * i) || !headings[i].is_block) return false;
  return true;
}

}  // namespace

TEST(the_title_of_a_document_is_its_largest_text_of_several_words_on_the_first_page) {
  const std::vector<Block> blocks = {block(0, "Redpaper", 40),        block(0, "The Tides of", 22),
                                     block(0, "the Inner Sea", 22),   block(0, "www.example.org/tides now", 30),
                                     block(0, kBody + kBody + kBody), block(1, "Some later large words", 40)};
  const auto title = printed_title(blocks);
  REQUIRE(title.has_value());
  CHECK_EQ(title->text, std::string("The Tides of the Inner Sea"));
  CHECK(title->first == 1 && title->end == 3);
  CHECK(!printed_title({block(0, "Only slightly larger", 12), block(0, kBody)}).has_value());
  CHECK(!printed_title({}).has_value());
  auto told = block(0, "Valves", 20);
  told.kind = BlockKind::Heading;  // by the file
  CHECK_EQ(printed_title({told, block(0, "Getting started now", 16), block(0, kBody)})->text, std::string("Valves"));
  for (const char* none : {"Table of Contents", "Chapter 3 The Pump"})
    CHECK(!printed_title({block(0, none, 30), block(0, kBody)}).has_value());
}

TEST(an_outline_with_wrong_targets_is_mended_by_the_text) {
  const auto blocks = ten_chapters();
  CHECK(are_found(headings_from_outline(blocks, outline_of_ten([](int p) { return p; }))));
  CHECK(are_found(headings_from_outline(blocks, outline_of_ten([](int) { return 0; }))));        // all the first page
  CHECK(are_found(headings_from_outline(blocks, outline_of_ten([](int p) { return p + 2; }))));  // shifted
  CHECK(are_found(headings_from_outline(blocks, outline_of_ten([](int p) { return 9 - p; }))));  // backwards
  CHECK(are_found(headings_from_outline(blocks, outline_of_ten([](int p) { return p % 2 == 0 ? p : -1; }))));
}

TEST(an_entry_that_is_not_printed_stays_between_its_neighbours) {
  auto outline = outline_of_ten([](int p) { return p; });
  outline.insert(outline.begin() + 5, {0, "Interlude", 9, 0});  // points far ahead
  const auto headings = headings_from_outline(ten_chapters(), outline);
  REQUIRE(headings.size() == 11);
  CHECK_EQ(headings[5].title, std::string("Interlude"));
  CHECK(headings[5].block >= 12 && headings[5].block <= 15);
  CHECK_EQ(headings[10].block, 27);
}

TEST(a_chapter_opens_with_its_number_and_its_title) {
  std::vector<Block> blocks;
  for (int c = 1; c <= 3; ++c) {
    blocks.push_back(block(c, "CHAPTER " + std::to_string(c), 12, true));
    blocks.push_back(block(c, c == 1 ? "Loomings" : c == 2 ? "The Carpet-Bag" : "The Spouter-Inn", 18, true));
    for (int p = 0; p < 4; ++p) blocks.push_back(block(c, kBody));
  }
  const auto tree = make_sections(blocks, {}, "Whale", limits());
  CHECK(section_titles(tree) ==
        (std::vector<std::string>{"1CHAPTER 1 Loomings", "1CHAPTER 2 The Carpet-Bag", "1CHAPTER 3 The Spouter-Inn"}));
}

TEST(the_first_section_of_a_numbered_unit_is_no_title_of_it) {
  std::vector<Block> blocks;
  for (int u = 1; u <= 3; ++u) {
    blocks.push_back(block(u, "Unit " + std::to_string(u), 16, true));
    for (const char* name : {"Grammar", "Vocabulary", "Reading"}) {
      blocks.push_back(block(u, name, 13, true));
      for (int p = 0; p < 3; ++p) blocks.push_back(block(u, kBody));
    }
  }
  const auto titles = section_titles(make_sections(blocks, {}, "Course", limits()));
  REQUIRE(titles.size() == 12);
  CHECK_EQ(titles[4], std::string("1Unit 2"));
  CHECK_EQ(titles[5], std::string("2Grammar"));
}

TEST(an_outline_of_file_names_takes_the_titles_that_are_printed) {
  auto blocks = ten_chapters();
  for (size_t i = 0; i < 10; ++i) blocks[3 * i].size_pt = 16;
  std::vector<OutlineEntry> outline;
  for (int i = 0; i < 10; ++i)
    outline.push_back({0, "body_rev" + std::string(1, static_cast<char>('a' + i)) + ".doc",
                       blocks[static_cast<size_t>(3 * i)].page, 0});
  const auto headings = find_headings(blocks, outline);
  REQUIRE(headings.size() == 10);
  for (size_t i = 0; i < 10; ++i) CHECK_EQ(headings[i].title, blocks[3 * i].text);
  // Where most titles are printed, one that is not keeps its name.
  for (size_t i = 1; i < 10; ++i) outline[i].title = blocks[3 * i].text;
  CHECK_EQ(find_headings(blocks, outline)[0].title, std::string("body_reva.doc"));
}

TEST(an_outline_of_one_level_is_carried_on_by_type) {
  std::vector<Block> blocks;
  std::vector<OutlineEntry> outline;
  for (int c = 0; c < 4; ++c) {
    const std::string name(1, static_cast<char>('A' + c));
    blocks.push_back(block(c, "Part " + name + " of it", 18, true));
    outline.push_back({0, blocks.back().text, c, 0});
    for (const char* below : {"Parts and tools", "Care and oil"}) {
      blocks.push_back(block(c, below + (" of " + name), 13, true));
      for (int p = 0; p < 3; ++p) blocks.push_back(block(c, kBody));
    }
  }
  const auto titles = section_titles(make_sections(blocks, outline, "Manual", limits()));
  REQUIRE(titles.size() == 12);
  CHECK_EQ(titles[3], std::string("1Part B of it"));
  CHECK_EQ(titles[5], std::string("2Care and oil of B"));
}

TEST(an_outline_that_only_counts_pages_is_none) {
  std::vector<OutlineEntry> outline;
  for (int p = 0; p < 10; ++p) outline.push_back({0, "Page " + std::to_string(p + 1), p, 0});
  CHECK(headings_from_outline(ten_chapters(), outline).empty());
}

TEST(an_outline_that_points_nowhere_is_not_believed) {
  const std::vector<Block> blocks = {block(0, "Big title", 20), block(0, kBody), block(0, kBody), block(0, kBody)};
  const auto titles = section_titles(make_sections(blocks, {{0, "x", -1, 0}, {0, "y", 99, 0}}, "Manual", limits()));
  CHECK(titles == (std::vector<std::string>{"1Big title"}));
}

TEST(leaves_stay_in_their_section_and_under_the_limit_and_lose_nothing) {
  std::vector<Block> blocks = {block(0, "First part", 20)};
  for (int i = 0; i < 20; ++i) blocks.push_back(block(i / 5, kBody));
  blocks.push_back(block(4, "Second part", 20));
  std::string endless;
  for (int i = 0; i < 300; ++i)
    endless += (i == 0 ? "Word" : "word") + std::to_string(i) + (i % 40 == 39 ? ". Then " : " ");
  blocks.push_back(block(4, endless));
  blocks.push_back(block(5, std::string(5000, 'x')));  // one word without an end
  const auto tree = make_sections(blocks, {}, "Manual", limits(100));
  int next = 0;
  for (const auto& node : tree.nodes) {
    if (node.kind != NodeKind::Leaf) continue;
    CHECK_EQ(node.block_first, next);
    next = node.block_end;
    CHECK(node.tokens <= 512);
    CHECK(tree.nodes[static_cast<size_t>(node.parent)].kind == NodeKind::Section);
  }
  CHECK_EQ(next, static_cast<int>(tree.blocks.size()));
  const auto bytes = [](const std::vector<Block>& all) {
    return std::accumulate(all.begin(), all.end(), size_t{0}, [](size_t n, const Block& b) {
      for (char c : b.text) n += c != ' ' ? 1 : 0;
      return n;
    });
  };
  CHECK_EQ(bytes(tree.blocks), bytes(blocks));
  CHECK(section_titles(tree).size() == 2);
}

TEST(a_long_listing_is_cut_between_its_lines) {
  std::string code;
  for (int i = 0; i < 60; ++i) code += (i > 0 ? "\n" : "") + std::string("  call(value, ") + std::to_string(i) + ");";
  auto listing = block(0, code);
  listing.kind = BlockKind::Code;
  const auto tree = make_sections({listing}, {}, "Program", limits(64));
  REQUIRE(tree.blocks.size() > 3);
  std::string all;
  for (size_t i = 0; i < tree.blocks.size(); ++i) {
    CHECK_EQ(tree.blocks[i].text.substr(0, 6), std::string("  call"));
    CHECK_EQ(tree.blocks[i].text.back(), i + 1 == tree.blocks.size() ? ';' : '\n');
    all += tree.blocks[i].text;
  }
  CHECK_EQ(all, code);
}

TEST(an_empty_document_is_one_empty_section) {
  const auto tree = make_sections({}, {}, "Nothing", limits());
  REQUIRE(tree.nodes.size() == 1);
  CHECK_EQ(tree.nodes[0].title, std::string("Nothing"));
}

TEST(sentences_end_where_a_reader_would_say) {
  const std::string text =
      "Dr. Smith paid $3.50 for it. Was it e.g. cheap? \u201CYes!\u201D he said. See fig. 3 for more";
  CHECK_EQ(
      joined(text, sentences(text)),
      std::string("Dr. Smith paid $3.50 for it.|Was it e.g. cheap?|\u201CYes!\u201D he said.|See fig. 3 for more|"));
  CHECK(sentences("   ").empty());
  const std::string japanese = "\u6C34\u3002\u706B\u3002";
  CHECK_EQ(sentences(japanese).size(), size_t{2});
}

TEST(titles_compare_without_case_space_and_marks) {
  CHECK_EQ(folded("1.2  The Feed-Pump!"), std::string("12thefeedpump"));
}
