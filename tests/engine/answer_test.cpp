#include "engine/answer/answer_text.h"
#include "engine/answer/evidence.h"
#include "engine/answer/support.h"
#include "engine/base/words.h"
#include "tests/support/check.h"

using namespace longleaf;

namespace {

const std::vector<std::string> kManual = {
    "The feed pump must be primed before the boiler is started.",
    "Replace the filter cartridge every 400 hours of operation.",
    "The warranty period is 24 months from the date of delivery.",
    "Filters",
};

}  // namespace

TEST(a_claim_finds_the_sentence_that_carries_it) {
  const SentenceIndex index(kManual);
  CHECK_EQ(index.support_for("You have to prime the feed pump before starting the boiler.").sentence, 0);
  CHECK_EQ(index.support_for("The filter cartridge is replaced every 400 hours.").sentence, 1);
}

TEST(a_claim_with_another_number_is_unsupported) {
  const SentenceIndex index(kManual);
  CHECK_EQ(index.support_for("The filter cartridge is replaced every 500 hours.").sentence, -1);
  CHECK_EQ(index.support_for("Unicorns prefer silver bridles.").sentence, -1);
  CHECK_EQ(index.support_for("").sentence, -1);
}

TEST(a_claim_that_was_remembered_needs_its_names) {
  const SentenceIndex parts({"The Bellatpod seal is the Plilatpod.", "The Plilatpod is next to the Korlatsta."});
  CHECK_EQ(parts.support_for("The Bellatpod seal is the Plilatpod.", true).sentence, 0);
  CHECK_EQ(parts.support_for("The Bellatpod seal is the Plitolat.", true).sentence, -1);   // remembered wrong
  CHECK_EQ(parts.support_for("The Bellatpod seal is the Korlatsta.", true).sentence, -1);  // of another sentence
  CHECK_EQ(parts.support_for("The Bellatpod seal is the Plitolat.").sentence, 0);
  CHECK_EQ(parts.support_for("Its Seal is the Plilatpod (Plilatpod).", true).sentence, 0);
}

TEST(the_best_verbatim_sentence_comes_first) {
  const SentenceIndex index(kManual);
  const auto ranked = index.answers_to("How often is the filter replaced?", {});
  REQUIRE(!ranked.empty());
  CHECK_EQ(ranked[0].sentence, 1);
  CHECK(index.answers_to("Who wrote Hamlet?", {}).empty());
  const SentenceIndex staff(
      {"Our employees are committed to the company and to each other.", "The company had 566,000 employees."});
  CHECK_EQ(staff.answers_to("How many employees did the company have?", {})[0].sentence, 1);
  const SentenceIndex asks({"How often should the filter be replaced in summer?",
                            "The filter is replaced often in summer, every 100 hours."});
  CHECK_EQ(asks.answers_to("How often is the filter replaced?", {})[0].sentence, 1);
}

TEST(the_planner_reuses_when_reading_again_would_be_slow) {
  const PlanInput large{50, 3000, 20, 10 << 20, true};
  const Rates slow{100, 1e9};
  const auto plan = choose_evidence(large, slow);
  CHECK_EQ(plan.evidence, Evidence::LeafKv);
  CHECK(plan.predicted_ms > 200 && plan.predicted_ms < 220);  // 20 tokens at 100/s, 10 MiB at 1 GB/s
  CHECK_EQ(choose_evidence({50, 3000, 20, 10 << 20, false}, slow).evidence, Evidence::Exact);
  CHECK_EQ(choose_evidence(large, {100000, 1e9}).evidence, Evidence::Exact);  // 31 ms: within the deadline
  CHECK_EQ(choose_evidence(large, {1000, 1e6}).evidence, Evidence::Exact);    // loading would take 10 s
}

TEST(the_planner_takes_memories_where_the_text_would_be_a_long_wait) {
  PlanInput input{50, 3000, 20, 10 << 20, true, 60};
  const Rates slow{100, 1e6};  // 30 s to read, 10 s to load
  const auto plan = choose_evidence(input, slow);
  CHECK_EQ(plan.evidence, Evidence::MemoryTokens);
  CHECK_EQ(plan.predicted_ms, 1500.0);                                      // prefix, memories, and the question twice
  CHECK_EQ(choose_evidence(input, {100, 1e9}).evidence, Evidence::LeafKv);  // 0.2 s
  CHECK_EQ(choose_evidence(input, {1000, 1e6}).evidence, Evidence::Exact);  // 3 s
  input.kv_there = false;
  CHECK_EQ(choose_evidence(input, slow).evidence, Evidence::MemoryTokens);
  CHECK_EQ(choose_evidence(input, {1000, 1e6}).evidence, Evidence::Exact);
  input.memory_tokens = 0;
  CHECK_EQ(choose_evidence(input, slow).evidence, Evidence::Exact);
  input = {50, 3000, 20, 10 << 20, true, 60};
  CHECK_EQ(predicted_ms(Evidence::MemoryAndLeafKv, input, slow), 11485.76);  // 100 tokens, and loading
}

TEST(evidence_names_are_the_contract) {
  for (const char* name : {"auto", "exact", "leaf_kv", "memory_tokens", "memory_tokens+leaf_kv", "quote"}) {
    const auto evidence = evidence_named(name);
    REQUIRE_OK(evidence);
    CHECK_EQ(std::string(name_of(*evidence)), std::string(name));
  }
  CHECK(!evidence_named("magic").ok());
}

TEST(stems_join_forms_of_a_word) {
  CHECK_EQ(stem("pumps"), stem("pump"));
  CHECK_EQ(stem("installed"), stem("installing"));
  CHECK_EQ(stem("gas"), std::string("gas"));
  CHECK_EQ(stem("eats"), stem("eat"));
  CHECK_EQ(stem("boss"), std::string("boss"));
  CHECK(content_words("What is the warranty period?") == (std::vector<std::string>{"warranty", "period"}));
}

TEST(an_answers_text_is_said_without_space_in_front_thoughts_and_what_ends_it) {
  const auto said = [](std::string_view bytes, std::string_view stop_at, bool verbatim, size_t step) {
    AnswerText text(stop_at, verbatim);
    std::string all;
    bool ended = false;
    for (size_t at = 0; at < bytes.size() && !ended; at += step) {
      ended = text.add(bytes.substr(at, step));
      all += text.unsaid();
    }
    text.finish();
    all += text.unsaid();
    CHECK_EQ(all, text.text());
    return all;
  };
  for (size_t step = 1; step < 8; ++step) {
    CHECK_EQ(said(" \n It is \u00e9.", "", false, step), std::string("It is \u00e9."));
    CHECK_EQ(said("<think>no</think>\n\nYes.", "", false, step), std::string("Yes."));
    CHECK_EQ(said("\n\n\n", "", false, step), std::string());
    CHECK_EQ(said("A line\nand one.\n\nQuestion: more", "\n\n", false, step), std::string("A line\nand one."));
    CHECK_EQ(said(".\n\nFoo", "\n\n", false, step), std::string("."));
    CHECK_EQ(said("ends with a line\n", "\n\n", false, step), std::string("ends with a line\n"));
    CHECK_EQ(said(" \n<think>a</think>\n\nb", "\n\n", true, step), std::string(" \n<think>a</think>\n\nb"));
  }
}

TEST(a_model_that_says_nothing_any_more_is_not_listened_to) {
  for (const bool verbatim : {false, true}) {
    AnswerText text("", verbatim);
    CHECK(!text.add("It is brass."));
    int more = 0;
    while (more < 100 && !text.add("\n")) ++more;
    CHECK_EQ(more, verbatim ? 100 : 16);
    CHECK(text.text().starts_with("It is brass."));
  }
  AnswerText poem("", false);
  for (int i = 0; i < 100; ++i) CHECK(!poem.add(i % 10 == 0 ? "line" : "\n"));
}
