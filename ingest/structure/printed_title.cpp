#include "ingest/structure/printed_title.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "ingest/structure/numbering.h"
#include "ingest/structure/type_headings.h"

namespace longleaf {
namespace {

constexpr float kLarger = 1.3f;                   // than the body
constexpr size_t kShortest = 10, kLongest = 200;  // bytes
constexpr int kMostBlocks = 3, kMostLines = 4;
constexpr float kLowest = 0.75f;  // of the page: below are imprints

float body_size(const std::vector<Block>& blocks) {
  std::map<int, size_t> weight;  // half points → bytes
  for (const Block& block : blocks) weight[static_cast<int>(std::lround(block.size_pt * 2))] += block.text.size();
  const auto most =
      std::max_element(weight.begin(), weight.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == weight.end() ? 0 : static_cast<float>(most->first) / 2;
}

bool may_be_title(const Block& block) {
  if (block.kind != BlockKind::Paragraph && block.kind != BlockKind::Heading) return false;
  if (block.aside || block.n_lines > kMostLines || block.text.size() > kLongest || block.box.y0 > kLowest) return false;
  // A name of one word is a logo or a kind of paper, unless the file says that it is a heading.
  const bool several = block.kind == BlockKind::Heading || block.text.find(' ') != std::string::npos ||
                       static_cast<unsigned char>(block.text[0]) >= 0xE3;
  return several && block.text.find("http") == std::string::npos && block.text.find("www.") == std::string::npos;
}

bool looks_like(const Block& a, const Block& b) { return std::abs(a.size_pt - b.size_pt) < 0.6f && a.bold == b.bold; }

}  // namespace

std::optional<PrintedTitle> printed_title(const std::vector<Block>& blocks) {
  const float body = body_size(blocks);
  const int n = static_cast<int>(blocks.size());
  const auto at = [&](int i) -> const Block& { return blocks[static_cast<size_t>(i)]; };
  int best = -1;
  for (int i = 0; i < n && at(i).page == at(0).page; ++i)
    if (may_be_title(at(i)) && at(i).size_pt >= kLarger * body && (best < 0 || at(i).size_pt > at(best).size_pt + 0.1f))
      best = i;
  if (best < 0) return std::nullopt;
  PrintedTitle title{best, best, {}};
  while (title.end < n && title.end - best < kMostBlocks && at(title.end).page == at(best).page &&
         looks_like(at(title.end), at(best)) && may_be_title(at(title.end)))
    title.text += (title.text.empty() ? "" : " ") + at(title.end++).text;
  const size_t shortest = at(best).kind == BlockKind::Heading ? 1 : kShortest;
  if (title.text.size() < shortest || title.text.size() > kLongest) return std::nullopt;
  // A file that begins with its contents or in the middle of a book does not say what it is.
  if (names_contents(title.text) || numbering_of(title.text).kind == NumberKind::Named) return std::nullopt;
  return title;
}

}  // namespace longleaf
