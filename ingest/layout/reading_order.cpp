#include "ingest/layout/reading_order.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace longleaf {
namespace {

constexpr int kMaxDepth = 16;
constexpr size_t kMaxBands = 600;    // that one gutter may go through; no page has more rows
constexpr float kGutterEm = 0.8f;    // the narrowest white strip between columns
constexpr float kProseEm = 9;        // prose lines are at least this wide on average
constexpr float kProseWords = 3.5f;  // and have at least this many words
constexpr int kFewestLines = 3;      // of a column
constexpr int kLinesOfList = 10;     // of short lines, to be columns of a list and no table
constexpr float kListEm = 5, kListLeading = 1.45f, kLikeWidths = 1.8f;
constexpr float kMostDigits = 0.3f;    // of the characters: more is a column of figures
constexpr float kApartEm = 4;          // lines of text that goes its own way are at least this wide on average
constexpr float kTightLeading = 1.6f;  // between most of them; rows of a table stand further apart
constexpr float kSameBaselineEm = 0.2f;
constexpr float kMostAligned = 0.35f;  // of the shorter side's lines: cells of a table share their baselines
constexpr float kFar = 1e6f;

struct Interval {
  float begin, end;
  float width() const { return end - begin; }
  bool is_inner() const { return begin > -kFar && end < kFar; }
};

// What one side of a gutter looks like.
struct Side {
  int lines = 0, words = 0, letters = 0, digits = 0;
  float width_em = 0, em = 0, top = kFar, bottom = -kFar;
  std::vector<float> baselines;      // top to bottom
  std::vector<Interval> paragraphs;  // lines that follow each other closely, top to bottom

  void add(const Run& run) {
    ++lines;
    words += run.n_words, letters += run.n_letters, digits += run.n_digits;
    width_em += run.box.width() / std::max(4.0f, run.size_pt);
    em += std::max(4.0f, run.size_pt);
    top = std::min(top, run.box.y0), bottom = std::max(bottom, run.box.y1);
    baselines.push_back(run.box.y1);
    const float step = (kTightLeading - 1) * std::max(4.0f, run.size_pt);
    if (paragraphs.empty() || run.box.y0 - paragraphs.back().end > step)
      paragraphs.push_back({run.box.y0, run.box.y1});
    else
      paragraphs.back().end = std::max(paragraphs.back().end, run.box.y1);
  }
  float mean(float sum) const { return sum / static_cast<float>(lines); }
  bool is_prose() const { return mean(width_em) >= kProseEm && mean(static_cast<float>(words)) >= kProseWords; }
  bool is_list() const {
    const bool figures = static_cast<float>(digits) > kMostDigits * static_cast<float>(digits + letters);
    return lines >= kLinesOfList && mean(width_em) >= kListEm && !figures && bottom - top < kListLeading * em;
  }
};

// Lines that follow each other as those of text do.
bool is_tight(const Side& side) {
  std::vector<float> steps;
  for (size_t i = 1; i < side.baselines.size(); ++i)
    if (const float step = side.baselines[i] - side.baselines[i - 1]; step > 0) steps.push_back(step);
  if (steps.empty()) return false;
  const auto middle = steps.begin() + static_cast<long>(steps.size() / 2);
  std::nth_element(steps.begin(), middle, steps.end());
  return *middle < kTightLeading * side.mean(side.em);
}

// Whether one side's lines stand where the other's do, as those of a table's rows.
bool are_aligned(const Side& a, const Side& b) {
  const Side& fewer = a.lines < b.lines ? a : b;
  const Side& more = a.lines < b.lines ? b : a;
  const float near = kSameBaselineEm * fewer.mean(fewer.em);
  const auto is_shared = [&](float y) {
    return std::any_of(more.baselines.begin(), more.baselines.end(),
                       [&](float other) { return std::abs(y - other) <= near; });
  };
  const auto shared = std::count_if(fewer.baselines.begin(), fewer.baselines.end(), is_shared);
  return static_cast<float>(shared) > kMostAligned * static_cast<float>(fewer.lines);
}

// Whether each paragraph of one side stands beside one of the other: rows of a table whose cells have several lines.
bool are_rows(const Side& a, const Side& b) {
  if (a.paragraphs.size() != b.paragraphs.size() || a.paragraphs.size() < 2) return false;
  for (size_t i = 0; i < a.paragraphs.size(); ++i) {
    const Interval x = a.paragraphs[i], y = b.paragraphs[i];
    if (std::min(x.end, y.end) - std::max(x.begin, y.begin) < 0.5f * std::min(x.width(), y.width())) return false;
  }
  return true;
}

bool are_columns(const Side& a, const Side& b) {
  if (std::min(a.lines, b.lines) < kFewestLines) return false;
  if (a.is_prose() && b.is_prose()) return true;
  if (std::min(a.mean(a.width_em), b.mean(b.width_em)) >= kApartEm && is_tight(a) && is_tight(b) &&
      !are_aligned(a, b) && !are_rows(a, b))
    return true;
  const float width_a = a.mean(a.width_em), width_b = b.mean(b.width_em);
  return a.is_list() && b.is_list() && std::max(width_a, width_b) < kLikeWidths * std::min(width_a, width_b);
}

using Band = std::vector<int>;

class Cutter {
 public:
  explicit Cutter(const std::vector<Run>& runs) : runs_(runs) {}

  void cut(Band region, int depth) {
    std::sort(region.begin(), region.end(), [&](int a, int b) { return box(a).y0 < box(b).y0; });
    const auto bands = bands_of(region);
    Band single;  // the rows of one column so far
    for (size_t i = 0; i < bands.size();) {
      size_t end = i + 1;
      const auto gutter = depth < kMaxDepth ? gutter_from(bands, i, end) : std::nullopt;
      if (!gutter) {
        single.insert(single.end(), bands[i].begin(), bands[i].end());
        ++i;
        continue;
      }
      emit(single);
      Band left, right;
      for (; i < end; ++i)
        for (int run : bands[i]) (is_left(run, *gutter) ? left : right).push_back(run);
      const bool mirrored = reads_right_to_left(left) && reads_right_to_left(right);
      cut(std::move(mirrored ? right : left), depth + 1);
      cut(std::move(mirrored ? left : right), depth + 1);
    }
    emit(single);
  }

  // Gutters between columns of prose; elsewhere on the page a table may stand beside one of them.
  void learn(Band region) {
    std::sort(region.begin(), region.end(), [&](int a, int b) { return box(a).y0 < box(b).y0; });
    const auto bands = bands_of(region);
    for (size_t i = 0; i < bands.size();) {
      size_t end = i + 1;
      if (const auto gutter = gutter_from(bands, i, end))
        known_.push_back(*gutter);
      else
        end = i + 1;
      i = end;
    }
  }

  std::vector<std::vector<int>> columns;

 private:
  const Box& box(int run) const { return runs_[static_cast<size_t>(run)].box; }
  bool reads_right_to_left(const Band& band) const {
    int words = 0, right_to_left = 0;
    for (const int run : band) {
      words += runs_[static_cast<size_t>(run)].n_words;
      right_to_left += runs_[static_cast<size_t>(run)].n_right_to_left;
    }
    return 2 * right_to_left > words;
  }
  bool is_left(int run, Interval gutter) const { return box(run).x1 <= (gutter.begin + gutter.end) / 2; }

  // Rows, or rows of several columns that interlock: no horizontal line passes through a band.
  std::vector<Band> bands_of(const Band& region) const {
    std::vector<Band> bands;
    float bottom = -kFar;
    for (int run : region) {
      if (bands.empty() || box(run).y0 > bottom - 0.25f * box(run).height()) bands.emplace_back();
      bands.back().push_back(run);
      bottom = std::max(bottom, box(run).y1);
    }
    return bands;
  }

  // The white between the runs of a band and beside them.
  std::vector<Interval> white_of(const Band& band) const {
    std::vector<Interval> taken, white;
    for (int run : band) taken.push_back({box(run).x0, box(run).x1});
    std::sort(taken.begin(), taken.end(), [](Interval a, Interval b) { return a.begin < b.begin; });
    float end = -kFar;
    for (Interval t : taken) {
      if (t.begin > end) white.push_back({end, t.begin});
      end = std::max(end, t.end);
    }
    white.push_back({end, kFar});
    return white;
  }

  // The widest gutter that goes through the bands from `begin` on, as far as one does; `end` is set behind them.
  std::optional<Interval> gutter_from(const std::vector<Band>& bands, size_t begin, size_t& end) const {
    const float least = kGutterEm * em_of(bands[begin]);
    auto white = white_of(bands[begin]);
    for (; end < std::min(bands.size(), begin + kMaxBands); ++end) {
      auto next = common(white, white_of(bands[end]), least);
      if (has_inner(white) && !has_inner(next)) break;
      white = std::move(next);
    }
    std::optional<Interval> best;
    for (Interval gap : white) {
      if (!gap.is_inner() || (best && gap.width() <= best->width())) continue;
      Side left, right;
      for (size_t i = begin; i < end; ++i)
        for (int run : bands[i]) (is_left(run, gap) ? left : right).add(runs_[static_cast<size_t>(run)]);
      const bool beside = std::min(left.lines, right.lines) >= kFewestLines && (left.is_prose() || right.is_prose()) &&
                          std::any_of(known_.begin(), known_.end(), [&](Interval known) {
                            return std::min(known.end, gap.end) > std::max(known.begin, gap.begin);
                          });
      if (are_columns(left, right) || beside) best = gap;
    }
    return best;
  }

  float em_of(const Band& band) const {
    float em = 0;
    for (int run : band) em += runs_[static_cast<size_t>(run)].size_pt;
    return std::max(4.0f, em / static_cast<float>(band.size()));
  }

  static std::vector<Interval> common(const std::vector<Interval>& a, const std::vector<Interval>& b, float least) {
    std::vector<Interval> out;
    for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
      const Interval both{std::max(a[i].begin, b[j].begin), std::min(a[i].end, b[j].end)};
      if (both.width() >= least) out.push_back(both);
      (a[i].end < b[j].end ? i : j)++;
    }
    return out;
  }

  static bool has_inner(const std::vector<Interval>& white) {
    return std::any_of(white.begin(), white.end(), [](Interval gap) { return gap.is_inner(); });
  }

  void emit(Band& column) {
    if (!column.empty()) columns.push_back(std::move(column));
    column.clear();
  }

  const std::vector<Run>& runs_;
  std::vector<Interval> known_;
};

}  // namespace

std::vector<std::vector<int>> columns_in_order(const std::vector<Run>& runs) {
  Cutter cutter(runs);
  Band all(runs.size());
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int>(i);
  if (all.empty()) return {};
  cutter.learn(all);
  cutter.cut(std::move(all), 0);
  return std::move(cutter.columns);
}

}  // namespace longleaf
