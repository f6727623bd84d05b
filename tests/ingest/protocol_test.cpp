#include "ingest/reader/protocol.h"

#include <unistd.h>

#include <random>
#include <thread>

#include "tests/support/check.h"

using namespace longleaf;
using namespace longleaf::worker;

namespace {

PageText page() {
  PageText p{3, 595, 842, "iv", 0.25f, {}, {}};
  Word pump;
  pump.text = "Pump", pump.box = {0.1f, 0.2f, 0.3f, 0.4f}, pump.size_pt = 11;
  pump.bold = pump.space_after = pump.underlined = pump.fixed_pitch = true;
  Word summer;
  summer.text = "\u00e9t\u00e9", summer.box = {0.3f, 0.2f, 0.5f, 0.4f}, summer.size_pt = 11.5f;
  summer.italic = summer.hidden = true, summer.turns = 3, summer.font = 777;
  p.words = {pump, summer};
  return p;
}

}  // namespace

TEST(what_is_encoded_comes_back) {
  const auto back = decode_page(encode(page()));
  REQUIRE_OK(back);
  CHECK_EQ(back->label, std::string("iv"));
  REQUIRE(back->words.size() == 2);
  CHECK_EQ(back->words[1].text, std::string("\u00e9t\u00e9"));
  const Word &pump = back->words[0], &summer = back->words[1];
  CHECK(pump.bold && pump.space_after && pump.underlined && pump.fixed_pitch && !pump.italic && !pump.hidden);
  CHECK(summer.italic && summer.hidden && !summer.bold && summer.turns == 3 && summer.font == 777);
  CHECK_EQ(back->picture_share, 0.25f);
  CHECK(back->words[0].box == page().words[0].box);
  const auto info = decode_info(encode(DocumentInfo{7, "t", "a"}));
  REQUIRE_OK(info);
  CHECK_EQ(info->pages, 7);
  const auto outline = decode_outline(encode(std::vector<OutlineEntry>{{1, "x", 4, 0.5f}}));
  REQUIRE_OK(outline);
  CHECK_EQ(outline->at(0).page, 4);
  const auto image = decode_image(encode(PageImage{2, 1, {1, 2, 3, 4, 5, 6, 7, 8}}));
  REQUIRE_OK(image);
  CHECK_EQ(image->rgb32.size(), size_t{8});
  CHECK(decode_error(encode_error(Code::Locked, "p")).code() == Code::Locked);
}

TEST(every_truncation_and_extension_of_a_page_is_refused) {
  const std::string body = encode(page());
  for (size_t n = 0; n < body.size(); ++n) CHECK(decode_page(body.substr(0, n)).status().code() == Code::Corrupt);
  CHECK(!decode_page(body + "x").ok());
}

TEST(random_bytes_never_do_harm) {
  std::mt19937 random(9);
  const std::string body = encode(page());
  for (int i = 0; i < 20000; ++i) {
    std::string bytes = body;
    for (int n = 0; n < 3; ++n) bytes[random() % bytes.size()] = static_cast<char>(random());
    const auto decoded = decode_page(bytes);
    if (decoded.ok()) CHECK(decoded->words.size() < 1000);
    (void)decode_image(bytes).ok(), (void)decode_outline(bytes).ok(), (void)decode_info(bytes).ok(),
        (void)decode_error(bytes).ok();
  }
}

TEST(frames_with_impossible_lengths_end_the_conversation) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const unsigned char huge[] = {0xff, 0xff, 0xff, 0xff, 1};
  CHECK(write(ends[1], huge, sizeof huge) == sizeof huge);
  CHECK(read_frame(ends[0], 1000).status().code() == Code::Corrupt);
  close(ends[0]), close(ends[1]);
}

TEST(silence_is_a_time_out_and_a_closed_pipe_an_end) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  CHECK(read_frame(ends[0], 20).status().code() == Code::Timeout);
  close(ends[1]);
  CHECK(read_frame(ends[0], 1000).status().code() == Code::Io);
  close(ends[0]);
}
