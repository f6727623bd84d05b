#include "ingest/layout/lines.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>

#include "ingest/layout/bidi.h"
#include "ingest/layout/letters.h"
#include "ingest/layout/reading_order.h"

namespace longleaf {
namespace {

constexpr float kRunGapEm = 0.9f;   // a wider gap may be a gutter
constexpr float kOverlapEm = 1.0f;  // letters may overlap backwards by this much
constexpr float kCellGapEm = 1.5f;  // a wider gap inside a row separates cells
constexpr float kSpaceEm = 0.15f;   // a wider gap between words is a space
constexpr float kSameRow = 0.5f;    // share of the lower height that overlaps
constexpr float kBucketPt = 8;      // rows are looked up by height on the page
constexpr float kLeastSizePt = 4;

float overlap(const Box& a, const Box& b) { return std::min(a.y1, b.y1) - std::max(a.y0, b.y0); }
bool same_row(const Box& a, const Box& b) { return overlap(a, b) >= kSameRow * std::min(a.height(), b.height()); }

// A word with its box in points, turned so that its text runs from left to right.
struct Placed {
  const Word* word;
  Box box;
};

Box turned_upright(const Box& b, const PageText& page, uint8_t turns) {
  const float w = page.width_pt, h = page.height_pt;
  const Box p{b.x0 * w, b.y0 * h, b.x1 * w, b.y1 * h};
  switch (turns) {
    case 1:  // runs downwards
      return {p.y0, w - p.x1, p.y1, w - p.x0};
    case 2:
      return {w - p.x1, h - p.y1, w - p.x0, h - p.y0};
    case 3:  // runs upwards
      return {h - p.y1, p.x0, h - p.y0, p.x1};
    default:
      return p;
  }
}

// Joins words to runs; open runs are found by the height of their last word.
class Runs {
 public:
  explicit Runs(std::vector<Placed> words) : words_(std::move(words)) {
    std::stable_sort(words_.begin(), words_.end(),
                     [](const Placed& a, const Placed& b) { return a.box.x0 < b.box.x0; });
    for (size_t i = 0; i < words_.size(); ++i) add(static_cast<int>(i));
  }

  std::vector<Run> runs;
  std::vector<std::vector<int>> members;  // of each run, left to right
  const Placed& word(int i) const { return words_[static_cast<size_t>(i)]; }

 private:
  static float em(const Placed& p) { return std::max(kLeastSizePt, p.word->size_pt); }

  void add(int index) {
    const Placed& p = word(index);
    int best = -1;
    float best_gap = 0;
    const int first = bucket(p.box.y0), last = bucket(p.box.y1);
    for (int b = first; b <= last; ++b) {
      const auto open = open_.find(b);
      if (open == open_.end()) continue;
      std::erase_if(open->second, [&](int run) { return runs[static_cast<size_t>(run)].box.x1 < p.box.x0 - 200; });
      for (int run : open->second) {
        const Placed& end = word(members[static_cast<size_t>(run)].back());
        const float gap = p.box.x0 - end.box.x1, size = std::max(em(p), em(end));
        if (gap > kRunGapEm * size || gap < -kOverlapEm * size || !same_row(end.box, p.box)) continue;
        if (best < 0 || std::abs(gap) < best_gap) best = run, best_gap = std::abs(gap);
      }
    }
    if (best < 0) {
      best = static_cast<int>(runs.size());
      runs.push_back({p.box, 0, 0, 0, 0, 0});
      members.emplace_back();
    }
    auto& run = runs[static_cast<size_t>(best)];
    run.box = united(run.box, p.box);
    run.size_pt = std::max(run.size_pt, p.word->size_pt);
    ++run.n_words;
    run.n_right_to_left += is_right_to_left(*p.word) ? 1 : 0;
    for (unsigned char c : p.word->text) {
      run.n_digits += std::isdigit(c) != 0 ? 1 : 0;
      run.n_letters += std::isalpha(c) != 0 || c >= 0x80 ? 1 : 0;
    }
    members[static_cast<size_t>(best)].push_back(index);
    for (int b = first; b <= last; ++b)
      if (auto& open = open_[b]; std::find(open.begin(), open.end(), best) == open.end()) open.push_back(best);
  }

  static int bucket(float y) { return static_cast<int>(std::clamp(y, -1e5f, 1e5f) / kBucketPt); }

  std::vector<Placed> words_;
  std::map<int, std::vector<int>> open_;
};

// The runs of a column as rows, top to bottom, each left to right.
std::vector<std::vector<int>> rows_of(const std::vector<int>& column, const std::vector<Run>& runs) {
  const auto box = [&](int run) -> const Box& { return runs[static_cast<size_t>(run)].box; };
  std::vector<int> sorted = column;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [&](int a, int b) { return box(a).y0 + box(a).y1 < box(b).y0 + box(b).y1; });
  std::vector<std::vector<int>> rows;
  Box row;
  for (int run : sorted) {
    if (rows.empty() || !same_row(row, box(run))) {
      rows.emplace_back();
      row = box(run);
    }
    rows.back().push_back(run);
    if (box(run).height() > row.height()) row = {row.x0, box(run).y0, row.x1, box(run).y1};
  }
  for (auto& r : rows) std::stable_sort(r.begin(), r.end(), [&](int a, int b) { return box(a).x0 < box(b).x0; });
  return rows;
}

// Ligatures opened, and white that is no space made one. A soft hyphen stays: it may end the line.
std::string plain(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; })) return text;
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = first_character(std::string_view(text).substr(at));
    size_t end = at + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    const auto own = std::string_view(text).substr(at, end - at);
    out += c == 0xAD && end == text.size() ? own : spelled_out(c, own);
    at = end;
  }
  return out;
}

// One letter of a private use area, or a control character: a bullet or a box from a symbol font.
bool is_mark(const std::string& text) {
  if (text.size() == 2 && text[0] == '\xC2' && static_cast<unsigned char>(text[1]) < 0xA0) return true;
  return text.size() == 3 && (text[0] == '\xEE' || (text[0] == '\xEF' && static_cast<unsigned char>(text[1]) <= 0xA3));
}

// Style by characters.
void summarise(Line& line) {
  std::map<float, size_t> sizes;
  size_t bold = 0, italic = 0, underlined = 0, fixed = 0, all = 0, upper = 0, lower = 0;
  for (const Word& word : line.words) {
    const size_t n = is_mark(word.text) && line.words.size() > 1 ? 0 : word.text.size();
    sizes[std::round(word.size_pt * 4) / 4] += n;
    all += n;
    bold += word.bold ? n : 0;
    italic += word.italic ? n : 0;
    underlined += word.underlined ? n : 0;
    fixed += word.fixed_pitch ? n : 0;
    for (unsigned char c : word.text) upper += std::isupper(c) != 0 ? 1 : 0, lower += std::islower(c) != 0 ? 1 : 0;
  }
  size_t most = 0;
  for (const auto& [size, n] : sizes)
    if (n >= most) most = n, line.size_pt = size;
  line.font = line.words.front().font;
  for (const Word& word : line.words)
    if (word.font != line.font && !is_mark(word.text)) line.font = 0;
  line.bold = bold * 2 > all;
  line.italic = italic * 2 > all;
  line.underlined = underlined * 2 > all;
  line.fixed_pitch = fixed * 2 > all;
  line.capitals = lower == 0 && upper >= 4;
  // Small capitals are set smaller than the line is.
  if (line.capitals && !sizes.empty()) line.size_pt = sizes.rbegin()->first;
}

// Right-to-left lines begin at the right: seen in a mirror, all rules of layout hold for them too.
void mirror(Line& line) {
  line.place = {-line.place.x1, line.place.y0, -line.place.x0, line.place.y1};
  for (size_t& cell : line.cells) cell = line.words.size() - cell;
  std::reverse(line.cells.begin(), line.cells.end());
  std::reverse(line.cell_gaps.begin(), line.cell_gaps.end());
}

Line line_of(const std::vector<int>& row, const Runs& runs) {
  Line line;
  const Placed* last = nullptr;
  for (int run : row)
    for (int index : runs.members[static_cast<size_t>(run)]) {
      const Placed& p = runs.word(index);
      if (last != nullptr) {
        const float gap = p.box.x0 - last->box.x1;
        const float em = std::max({kLeastSizePt, p.word->size_pt, last->word->size_pt});
        line.words.back().space_after |= gap > kSpaceEm * em;
        if (gap > kCellGapEm * em) line.cells.push_back(line.words.size()), line.cell_gaps.push_back(gap);
      }
      line.words.push_back(*p.word);
      line.words.back().text = plain(p.word->text);
      line.box = last == nullptr ? p.word->box : united(line.box, p.word->box);
      line.place = last == nullptr ? p.box : united(line.place, p.box);
      last = &p;
    }
  summarise(line);
  if (is_right_to_left(line.words)) mirror(line);
  to_reading_order(line.words);
  return line;
}

// Lines of the words that are turned alike.
void read_turned(const PageText& page, uint8_t turns, bool aside, std::vector<Line>& lines) {
  std::vector<Placed> words;
  for (const Word& word : page.words)
    if (!word.hidden && word.turns == turns) words.push_back({&word, turned_upright(word.box, page, turns)});
  if (words.empty()) return;
  const Runs runs(std::move(words));
  for (const auto& column : columns_in_order(runs.runs)) {
    const int number = lines.empty() ? 0 : lines.back().column + 1;
    for (const auto& row : rows_of(column, runs.runs)) {
      lines.push_back(line_of(row, runs));
      lines.back().column = number;
      lines.back().aside = aside;
    }
  }
}

}  // namespace

std::vector<Line> read_lines(const PageText& page) {
  std::array<size_t, 4> letters{};
  for (const Word& word : page.words) letters[word.turns & 3] += word.hidden ? 0 : word.text.size();
  const auto most = static_cast<uint8_t>(std::max_element(letters.begin(), letters.end()) - letters.begin());
  std::vector<Line> lines;
  read_turned(page, most, false, lines);
  for (uint8_t turns = 0; turns < 4; ++turns)
    if (turns != most) read_turned(page, turns, true, lines);
  return lines;
}

std::vector<Line> parts_of(const Line& line, float gap_em) {
  std::vector<Line> parts;
  size_t begin = 0;
  float left = line.place.x0;
  const float per_unit = line.place.width() / std::max(1e-6f, line.box.width());
  for (size_t cell = 0; cell <= line.cells.size(); ++cell) {
    const bool last = cell == line.cells.size();
    if (!last && line.cell_gaps[cell] < gap_em * line.size_pt) continue;
    const size_t end = last ? line.words.size() : line.cells[cell];
    Line part = line;
    part.words.assign(line.words.begin() + static_cast<long>(begin), line.words.begin() + static_cast<long>(end));
    part.cells.clear(), part.cell_gaps.clear();
    part.box = part.words.front().box;
    for (const Word& word : part.words) part.box = united(part.box, word.box);
    part.place.x0 = left + (parts.empty() ? 0 : (part.box.x0 - parts.front().box.x0) * per_unit);
    part.place.x1 = part.place.x0 + part.box.width() * per_unit;
    part.aside |= !parts.empty();
    summarise(part);
    parts.push_back(std::move(part));
    begin = end;
  }
  return parts;
}

}  // namespace longleaf
