#include "engine/train/training_log.h"

#include <algorithm>
#include <charconv>

namespace longleaf::train {
namespace {

constexpr std::string_view kColumns =
    "step,stage,loss,answer_loss,route_loss,gradient,tokens,held_out_loss,held_out_right,gold_leaves_survive\n";
constexpr std::string_view kCorpus = "corpus", kQuestions = "questions";
constexpr size_t kFields = 10, kFirstScore = 7;

// Lines with their ends, the last perhaps without.
template <typename Take>
void each_line(std::string_view text, const Take& take) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    take(text.substr(at, end - at));
    at = end;
  }
}

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find(',', at), line.size());
    fields.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return fields;
}

template <typename T>
bool take_number(std::string_view text, T& to) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), to);
  return error == std::errc() && end == text.data() + text.size();
}

// As printf's %.6g, whatever the user's language says of decimal points.
void add_number(std::string& line, double x) {
  constexpr int kDigits = 6;
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, x, std::chars_format::general, kDigits);
  line += ',';
  line.append(text, error == std::errc() ? end : text);
}

std::optional<LoggedStep> parse_line(std::string_view line) {
  if (!line.ends_with('\n')) return {};
  line.remove_suffix(1);
  const auto fields = fields_of(line);
  if (fields.size() != kFields || (fields[1] != kCorpus && fields[1] != kQuestions)) return {};
  LoggedStep step;
  StepReport& r = step.report;
  r.corpus = fields[1] == kCorpus;
  if (!take_number(fields[0], r.step) || !take_number(fields[2], r.loss) || !take_number(fields[3], r.answer_loss) ||
      !take_number(fields[4], r.route_loss) || !take_number(fields[5], r.gradient))
    return {};
  if (fields[kFirstScore].empty()) return step;
  MemoryScores& s = step.scores.emplace();
  if (!take_number(fields[kFirstScore], s.answer_loss) || !take_number(fields[kFirstScore + 1], s.right) ||
      !take_number(fields[kFirstScore + 2], s.gold_leaves_survive))
    return {};
  return step;
}

}  // namespace

std::string_view training_log_columns() { return kColumns; }

std::string training_log_line(const StepReport& r, const std::optional<MemoryScores>& scores) {
  std::string line = std::to_string(r.step) + ',';
  line += r.corpus ? kCorpus : kQuestions;
  for (const double x : {r.loss, r.answer_loss, r.route_loss, r.gradient}) add_number(line, x);
  line += ',' + std::to_string(r.tokens);
  if (!scores) return line + ",,,\n";
  for (const double x : {scores->answer_loss, scores->right, scores->gold_leaves_survive}) add_number(line, x);
  return line + '\n';
}

std::string training_log_up_to(std::string_view log, int64_t step) {
  std::string kept(kColumns);
  each_line(log, [&](std::string_view line) {
    if (const auto parsed = parse_line(line); parsed && parsed->report.step <= step) kept += line;
  });
  return kept;
}

std::vector<LoggedStep> parse_training_log(std::string_view log) {
  std::vector<LoggedStep> steps;
  each_line(log, [&](std::string_view line) {
    if (auto step = parse_line(line)) steps.push_back(*step);
  });
  return steps;
}

}  // namespace longleaf::train
