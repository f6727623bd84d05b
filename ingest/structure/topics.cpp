#include "ingest/structure/topics.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "engine/base/words.h"

namespace longleaf {
namespace {

constexpr size_t kWindowWords = 200;  // on each side of a gap
constexpr double kPlay = 0.3;         // of a part, by which its end may move to a better gap
constexpr size_t kShortestName = 4;   // letters of a word that names a part
constexpr size_t kWordsInName = 3;

// Texts as runs of stem numbers.
struct Stems {
  std::vector<std::vector<int>> of_block;
  std::vector<double> counts;                         // by stem
  double size = 0;                                    // all of them
  std::vector<std::map<std::string, int>> spellings;  // by stem: how it is written, how often
};

Stems stems_of(const std::vector<Block>& blocks) {
  Stems stems;
  std::unordered_map<std::string, int> numbers;
  for (const Block& block : blocks) {
    auto& own = stems.of_block.emplace_back();
    for (const std::string& word : words_of(block.text)) {
      if (is_function_word(word) || std::isdigit(static_cast<unsigned char>(word[0])) != 0) continue;
      const auto [at, is_new] = numbers.try_emplace(stem(word), static_cast<int>(numbers.size()));
      if (is_new) stems.counts.push_back(0), stems.spellings.emplace_back();
      const auto number = static_cast<size_t>(at->second);
      ++stems.counts[number], ++stems.size;
      ++stems.spellings[number][word];
      own.push_back(at->second);
    }
  }
  return stems;
}

using Counts = std::unordered_map<int, int>;

double cosine(const Counts& a, const Counts& b) {
  double dot = 0, aa = 0, bb = 0;
  for (const auto& [number, n] : a) {
    aa += double(n) * n;
    if (const auto other = b.find(number); other != b.end()) dot += double(n) * other->second;
  }
  for (const auto& [number, n] : b) bb += double(n) * n;
  return aa > 0 && bb > 0 ? dot / std::sqrt(aa * bb) : 0;
}

// A stretch of blocks [begin, end) that is to be cut.
class Stretch {
 public:
  Stretch(const Stems& stems, const std::vector<int>& tokens, size_t begin, size_t end, const TopicLimits& limits)
      : stems_(stems), begin_(begin), end_(end), limits_(limits) {
    before_.assign(end - begin + 1, 0);
    for (size_t b = begin; b < end; ++b) before_[b - begin + 1] = before_[b - begin] + tokens[b];
    find_depths();
  }

  // Adds a heading for each part of [begin, end) and, where a part is still long, for its own parts.
  void cut(size_t begin, size_t end, int level, std::vector<Heading>& out) const {
    const double total = tokens_in(begin, end);
    const double wanted = std::ceil(total / limits_.part_tokens);
    const int n = static_cast<int>(std::min<double>(wanted, limits_.most_parts));
    size_t from = begin;
    for (int part = 1; part <= n && from < end; ++part) {
      const size_t to = part == n ? end : best_gap(from, end, before_[begin - begin_] + total * part / n, total / n);
      if (to == from) continue;
      out.push_back({static_cast<int>(from), level, name(from, to), false});
      if (wanted > limits_.most_parts && tokens_in(from, to) > 2 * limits_.part_tokens) cut(from, to, level + 1, out);
      from = to;
    }
  }

 private:
  double tokens_in(size_t begin, size_t end) const { return before_[end - begin_] - before_[begin - begin_]; }

  Counts window(size_t gap, bool ahead) const {
    Counts counts;
    size_t n = 0;
    size_t blocks = 0;  // those without words are bounded too
    for (size_t b = gap; n < kWindowWords && blocks < kWindowWords && (ahead ? b < end_ : b > begin_);
         ahead ? ++b : --b, ++blocks)
      for (const int number : stems_.of_block[ahead ? b : b - 1]) ++counts[number], ++n;
    return counts;
  }

  // How deep the likeness of both sides falls at each gap, from the nearest peak on either side.
  void find_depths() {
    std::vector<double> likeness(end_ - begin_, 1);
    for (size_t i = 1; i < likeness.size(); ++i)
      likeness[i] = cosine(window(begin_ + i, false), window(begin_ + i, true));
    auto left = likeness, right = likeness;  // the peaks
    for (size_t i = 2; i < likeness.size(); ++i)
      if (likeness[i - 1] >= likeness[i]) left[i] = left[i - 1];
    for (size_t i = likeness.size() - 1; i-- > 1;)
      if (likeness[i + 1] >= likeness[i]) right[i] = right[i + 1];
    depth_.assign(likeness.size(), 0);
    for (size_t i = 1; i < likeness.size(); ++i) depth_[i] = left[i] + right[i] - 2 * likeness[i];
  }

  // The deepest gap after `from` near `wanted` tokens; the nearest one where none is near.
  size_t best_gap(size_t from, size_t end, double wanted, double part) const {
    size_t best = from, nearest = from;
    double depth = -1, distance = 1e300;
    for (size_t gap = from + 1; gap < end; ++gap) {
      const double off = std::abs(before_[gap - begin_] - wanted);
      if (off < distance) distance = off, nearest = gap;
      if (off <= kPlay * part && depth_[gap - begin_] > depth) depth = depth_[gap - begin_], best = gap;
    }
    return depth < 0 ? nearest : best;
  }

  // The words that tell this part from the whole text: the largest terms of the divergence of their distributions.
  std::string name(size_t begin, size_t end) const {
    Counts counts;
    double size = 0;
    for (size_t b = begin; b < end; ++b)
      for (const int number : stems_.of_block[b]) ++counts[number], ++size;
    std::vector<std::pair<double, std::string>> ranked;
    for (const auto& [number, n] : counts) {
      const auto& spellings = stems_.spellings[static_cast<size_t>(number)];
      const auto usual = std::max_element(spellings.begin(), spellings.end(),
                                          [](const auto& a, const auto& b) { return a.second < b.second; });
      if (usual->first.size() < kShortestName) continue;
      const double share_of_all = stems_.counts[static_cast<size_t>(number)] / stems_.size;
      ranked.emplace_back(-n * std::log(n / size / share_of_all), usual->first);
    }
    const size_t most = std::min(kWordsInName, ranked.size());
    std::partial_sort(ranked.begin(), ranked.begin() + static_cast<long>(most), ranked.end());
    std::string name;
    for (size_t i = 0; i < most; ++i) name += (i > 0 ? ", " : "") + ranked[i].second;
    return name.empty() ? "…" : name;
  }

  const Stems& stems_;
  size_t begin_, end_;
  const TopicLimits& limits_;
  std::vector<double> before_;  // tokens of the stretch in front of a block
  std::vector<double> depth_;   // of the gap in front of a block
};

}  // namespace

std::vector<Heading> with_topics(const std::vector<Block>& blocks, const std::vector<int>& tokens,
                                 const std::vector<Heading>& headings, const TopicLimits& limits) {
  std::vector<Heading> out;
  Stems stems;  // made when the first long run is met
  size_t next = 0;
  for (size_t begin = 0; begin < blocks.size();) {
    int level = 1;
    for (; next < headings.size() && headings[next].block <= static_cast<int>(begin); ++next) {
      level = headings[next].level + 1;
      out.push_back(headings[next]);
    }
    const size_t end = next < headings.size() ? static_cast<size_t>(headings[next].block) : blocks.size();
    double total = 0;
    for (size_t b = begin; b < end; ++b) total += tokens[b];
    if (total > limits.longest_run_tokens && end - begin > 1) {
      if (stems.of_block.empty()) stems = stems_of(blocks);
      Stretch(stems, tokens, begin, end, limits).cut(begin, end, level, out);
    }
    begin = end;
  }
  out.insert(out.end(), headings.begin() + static_cast<long>(next), headings.end());
  return out;
}

}  // namespace longleaf
