// Scores of answers against the public scorers (tests/data/make_text_scores.py).
#include "engine/evaluation/text_scores.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/check.h"

using namespace longleaf;

TEST(scores_are_those_of_the_public_scorers) {
  std::ifstream file(LONGLEAF_TEST_DATA "/text_scores.json");
  const auto cases = nlohmann::json::parse(file);
  CHECK(cases.size() > 300);
  for (const auto& one : cases) {  // F1 was computed in F32
    const std::string answer = one["answer"];
    const TextScores scores = score_text(answer, one["references"].get<std::vector<std::string>>());
    const bool same = scores.exact == one["exact"].get<double>() &&
                      std::abs(scores.f1 - one["f1"].get<double>()) < 0x1p-23 &&
                      std::abs(scores.rouge_l - one["rouge_l"].get<double>()) < 1e-12;
    if (!same) test::fail(__FILE__, __LINE__, one.dump());
  }
}

TEST(bytes_that_are_no_text_are_scored_all_the_same) {
  const std::string odd = "pump \xff\xfe\xc3 45";
  CHECK_EQ(score_text(odd, {odd}).f1, 1.0);
  CHECK_EQ(score_text(odd, {"pump 45"}).exact, 0.0);
  CHECK_EQ(score_text(odd, {"Pump 45"}).rouge_l, 1.0);
}
