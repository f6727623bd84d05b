// The log of a training: what is written is read again, whatever the language, and damage is left out.
#include "engine/train/training_log.h"

#include <clocale>

#include "tests/support/check.h"

using namespace longleaf;
using namespace longleaf::train;

namespace {

StepReport step(int64_t number, bool corpus) {
  StepReport r;
  r.step = number, r.corpus = corpus, r.loss = 2.5, r.answer_loss = 1.25, r.route_loss = 1e-7, r.gradient = 12345.678;
  r.tokens = 2048;
  return r;
}

std::string log_of(int steps) {
  std::string log(training_log_columns());
  for (int i = 1; i <= steps; ++i) log += training_log_line(step(i, i < 3), {});
  return log;
}

}  // namespace

TEST(what_is_logged_is_read_again) {
  MemoryScores scores;
  scores.answer_loss = 0.75, scores.right = 0.5, scores.gold_leaves_survive = 1;
  const std::string log = log_of(2) + training_log_line(step(3, false), scores);
  CHECK(log.find("1,corpus,2.5,1.25,1e-07,12345.7,2048,,,\n") != std::string::npos);
  const auto steps = parse_training_log(log);
  REQUIRE(steps.size() == 3);
  CHECK(steps[0].report.step == 1 && steps[0].report.corpus && !steps[0].scores);
  CHECK(steps[2].report.answer_loss == 1.25 && !steps[2].report.corpus && steps[2].scores.has_value());
  CHECK(steps[2].scores->answer_loss == 0.75 && steps[2].scores->right == 0.5);
}

TEST(a_language_with_decimal_commas_writes_the_same) {
  const std::string before = log_of(3);
  bool found = false;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8"})
    found |= std::setlocale(LC_NUMERIC, name) != nullptr;
  if (!found) std::printf("  skipped: no such language is installed\n");
  CHECK(log_of(3) == before);
  CHECK_EQ(parse_training_log(before).size(), size_t{3});
  std::setlocale(LC_NUMERIC, "C");
}

TEST(a_log_ends_where_the_state_that_is_taken_up_does) {
  CHECK(training_log_up_to(log_of(9), 4) == log_of(4));
  CHECK(training_log_up_to("", 4) == log_of(0));
  // Cut in the middle of a number, by a full disk: "5" is not step 5.
  CHECK(training_log_up_to(log_of(4) + "5", 6) == log_of(4));
}

TEST(damaged_lines_are_left_out) {
  for (const char* bad : {"x,corpus,1,1,1,1,1,,,\n", "5,neither,1,1,1,1,1,,,\n", "5,corpus,1,1\n",
                          "5,corpus,1;5,1,1,1,1,,,\n", "5,corpus,1,1,1,1,1,2,,\n", "\n", "5,corpus,1,1,1,1,1,,,"})
    CHECK(parse_training_log(log_of(2) + bad).size() == 2);
}
