// longleaf-cli as it measures quality and trains: eval and train.
#include <fstream>

#include "tests/support/check.h"
#include "tests/support/cli_rig.h"

using namespace longleaf::test;
using Rig = CliRig;

TEST(retrieval_is_measured_from_a_list_of_questions) {
  const Rig rig(10);
  std::ofstream questions(rig.folder / "q.jsonl");
  for (int p = 0; p < 10; ++p)
    questions << Json{{"document", "manual.pdf"},
                      {"question", "How much does pump number " + std::to_string(p) + " deliver?"},
                      {"pages", {p + 1}}}
                     .dump()
              << "\n";
  questions.close();
  const Json result = rig.run("--json eval retrieval --questions " + (rig.folder / "q.jsonl").string() +
                              " --documents " + rig.folder.path().string())
                          .json();
  CHECK_EQ(result["questions"].get<int>(), 10);
  CHECK(result["recall_any"]["1"].get<double>() >= 0.9);
  CHECK_EQ(result["recall_any"]["10"].get<double>(), 1.0);
  CHECK(result["missed"].empty());
}

TEST(what_retrieval_misses_is_told_with_its_cause) {
  const Rig rig(10);
  std::ofstream(rig.folder / "q.jsonl")
      << Json{{"document", "manual.pdf"}, {"question", "How much does pump number 2 deliver?"}, {"pages", {9}}}.dump()
      << "\n"
      << Json{{"document", "manual.pdf"}, {"question", "How much does pump number 3 deliver?"}, {"pages", {77}}}.dump();
  const Json result = rig.run("--json eval retrieval -k 1 --questions " + (rig.folder / "q.jsonl").string() +
                              " --documents " + rig.folder.path().string())
                          .json();
  REQUIRE(result["missed"].size() == 2);
  CHECK_EQ(result["missed"][0]["cause"].get<std::string>(), std::string("words"));
  CHECK_EQ(result["missed"][1]["cause"].get<std::string>(), std::string("no_text"));
}

TEST(answers_are_scored_for_every_kind_of_evidence) {
  const Rig rig(10);
  std::ofstream questions(rig.folder / "q.jsonl");
  for (int p = 0; p < 3; ++p)
    questions << Json{{"document", "manual.pdf"},
                      {"question", "How much does pump number " + std::to_string(p) + " deliver?"},
                      {"answers", {"Nothing.", page_fact(p)}},
                      {"pages", {p + 1}}}
                     .dump()
              << "\n";
  questions << R"({"document": "manual.pdf", "question": "Why?"})"
            << "\n";
  questions.close();
  const Json result =
      rig.run("--json --model " + rig.model + " eval qa --questions " + (rig.folder / "q.jsonl").string() +
              " --documents " + rig.folder.path().string() + " --evidence quote,exact,leaf_kv")
          .json();
  REQUIRE(result.is_object());
  REQUIRE(result["evidence"].size() == 3);
  const Json& quote = result["evidence"][0];
  CHECK_EQ(quote["evidence"].get<std::string>(), std::string("quote"));
  CHECK_EQ(quote["questions"].get<int>(), 3);
  CHECK(quote["f1"].get<double>() > 0.2);  // the sentence is among those that are quoted
  CHECK(quote["rouge_l"].get<double>() > 0.2);
  CHECK_EQ(quote["cites_an_evidence_page"].get<double>(), 1.0);
  for (const int i : {1, 2}) {  // a random model says nothing that is right, but is measured
    CHECK_EQ(result["evidence"][static_cast<size_t>(i)]["questions"].get<int>(), 3);
    CHECK(result["evidence"][static_cast<size_t>(i)]["ttft_ms"].get<double>() > 0);
  }
  const Outcome half =
      rig.run("--json --model " + rig.model + " eval qa --questions " + (rig.folder / "q.jsonl").string() +
              " --documents " + rig.folder.path().string() + " --evidence quote,memory_tokens");
  CHECK_EQ(half.status, 1);
  CHECK(half.err.find("needs an adapter") != std::string::npos);
  CHECK_EQ(half.json()["evidence"].size(), size_t{1});
  CHECK(result["evidence"][2]["prefill_tokens"].get<double>() < result["evidence"][1]["prefill_tokens"].get<double>());
}

TEST(questions_are_read_in_the_forms_of_the_fields_collections) {
  const Rig rig;
  const std::string text = page_fact(1) + " The valve is green.";
  const Json longbench = {
      {"input", "How much does pump number 1 deliver?"}, {"context", text}, {"answers", {"107 litres"}}};
  const Json leval = {
      {"instructions", {"What is green?", "What is red?"}}, {"outputs", {"The valve.", "Nothing."}}, {"input", text}};
  const Json musique = Json::array(
      {{{"ctxs", {{{"title", ""}, {"text", text}}}}, {"question", "What is green?"}, {"answers", {"The valve"}}}});
  const Json qas =
      Json::array({{{"question", "What is green?"}, {"answers", {{{"text", "The valve"}, {"answer_start", 0}}}}},
                   {{"question", "Why?"}, {"answers", Json::array()}}});
  const Json squad = {{"data", {{{"paragraphs", {{{"context", text}, {"qas", qas}}}}}}}};
  const Json mmlongbench = Json::array({{{"doc_id", "manual.pdf"},
                                         {"question", "What?"},
                                         {"answer", "x"},
                                         {"evidence_pages", "[1]"},
                                         {"evidence_sources", "['Pure-text (Plain-text)']"}},
                                        {{"doc_id", "manual.pdf"},
                                         {"question", "What?"},
                                         {"answer", "x"},
                                         {"evidence_pages", "[1]"},
                                         {"evidence_sources", "['Figure']"}}});
  const auto counts = [&](const std::string& contents, int expected) {
    std::ofstream(rig.folder / "q.json") << contents;
    const Json result = rig.run("--json eval qa --questions " + (rig.folder / "q.json").string() + " --documents " +
                                rig.folder.path().string() + " --evidence quote")
                            .json();
    REQUIRE(result.is_object());
    CHECK_EQ(result["evidence"][0]["questions"].get<int>(), expected);
  };
  counts(longbench.dump(), 1);
  counts(leval.dump(), 2);
  counts(musique.dump(), 1);
  counts(squad.dump(), 1);
  counts(mmlongbench.dump(), 1);
  counts(longbench.dump() + "\n\n" + leval.dump() + "\n", 3);
  for (const char* bad : {"", "[]", "{}", "[1]", "{\"data\": 1}", "no JSON"}) {
    std::ofstream(rig.folder / "bad.json") << bad;
    const Outcome outcome = rig.run("eval qa --questions " + (rig.folder / "bad.json").string() + " --evidence quote");
    CHECK_EQ(outcome.status, 1);
    CHECK(outcome.err.find("no questions in a known form") != std::string::npos);
  }
  CHECK_EQ(rig.run("eval qa --questions /nowhere --evidence quote").status, 1);
}

TEST(a_memory_is_trained_on_a_document_and_questions_and_goes_on_where_it_was) {
  const Rig rig;
  std::ofstream questions(rig.folder / "qa.jsonl");
  for (int page = 0; page < 8; ++page)
    questions << R"({"document": "manual.pdf", "question": "How much does pump number )" << page
              << R"( deliver?", "answers": [")" << 100 + 7 * page << R"( litres per minute"], "pages": [)" << page + 1
              << "]}\n";
  questions << R"({"document": "elsewhere.pdf", "question": "Why?", "answers": ["No."]})"
            << "\n";
  questions.close();
  const std::string train = "--model " + rig.model + " train --corpus " + rig.pdf + " --qa " +
                            (rig.folder / "qa.jsonl").string() + " --out " + (rig.folder / "a.gguf").string() +
                            " --rank 2 --step-tokens 200 --score-every 2 --held-out 0.25 --json";
  const Outcome first = rig.run(train + " --steps 6");
  CHECK_EQ(first.status, 0);
  CHECK(first.err.find("1 are left out: their documents are not in the corpus") != std::string::npos);
  const Json result = first.json();
  REQUIRE(result.is_object());
  CHECK_EQ(result["steps"].get<int>(), 6);
  CHECK_EQ(result["stopped"].get<bool>(), false);
  CHECK_EQ(result["scores"]["questions"].get<int>(), 2);
  CHECK(result["stated_bytes"].get<double>() > 1e6);
  CHECK(std::filesystem::exists(rig.folder / "a.gguf"));
  std::ifstream log(rig.folder / "a.gguf.csv");
  int lines = 0;
  for (std::string line; std::getline(log, line);) ++lines;
  CHECK_EQ(lines, 7);

  CHECK_EQ(rig.run(train + " --steps 6").json()["steps"].get<int>(), 6);
  const Outcome other = rig.run(train + " --steps 7");
  CHECK_EQ(other.status, 2);
  CHECK(other.err.find("belongs to a training with other texts or settings") != std::string::npos);
}

TEST(questions_beside_the_documents_are_no_document) {
  const Rig rig;
  const auto folder = rig.folder / "corpus";
  std::filesystem::create_directory(folder);
  std::filesystem::copy_file(rig.pdf, folder / "manual.pdf");
  std::ofstream(folder / "qa.jsonl") << R"({"document": "manual.pdf", "question": "Why?", "answers": ["Pumps."]})"
                                     << "\n";
  const Outcome outcome = rig.run("--model " + rig.model + " train --corpus " + folder.string() + " --qa " +
                                  (folder / "qa.jsonl").string() + " --out " + (rig.folder / "a.gguf").string() +
                                  " --steps 1 --held-out 0");
  CHECK_EQ(outcome.status, 0);
  CHECK(outcome.out.find("1 documents, ") != std::string::npos);
}

TEST(questions_that_a_model_wrote_earlier_are_trained_on) {
  const Rig rig;
  const std::string out = (rig.folder / "w.gguf").string();
  std::ofstream(out + ".questions.jsonl")
      << R"({"document": "manual.pdf", "question": "What of pump 1?", "answers": ["It delivers."], "pages": [1]})"
      << "\n"
      << R"({"document": "manual.pdf", "question": "What of pump 2?", "answers": ["It delivers."], "pages": [2]})"
      << "\n";
  const Outcome outcome =
      rig.run("--model " + rig.model + " train --corpus " + rig.pdf + " --write-questions 2 --out " + out +
              " --rank 2 --step-tokens 200 --steps 2 --corpus-share 0 --held-out 0");
  CHECK_EQ(outcome.status, 0);
  CHECK(outcome.out.find("2 questions, and 0 held out") != std::string::npos);
}

TEST(a_memory_that_was_trained_answers_and_is_measured) {
  const Rig rig;
  std::ofstream(rig.folder / "qa.jsonl")
      << R"({"document": "manual.pdf", "question": "How much does pump number 1 deliver?", "answers": )"
      << R"(["107 litres per minute"], "pages": [2]})"
      << "\n";
  const std::string qa = (rig.folder / "qa.jsonl").string(), adapter = (rig.folder / "a.gguf").string(),
                    with = "--json --model " + rig.model + " --adapter " + adapter + " ";
  CHECK_EQ(rig.run("--model " + rig.model + " train --corpus " + rig.pdf + " --out " + adapter + " --steps 2").status,
           0);
  const std::string ask = "ask " + rig.pdf + " \"How much does pump number 1 deliver?\" --max-tokens 5 --evidence ";
  const Outcome early = rig.run(with + ask + "memory_tokens");
  CHECK_EQ(early.status, 1);
  CHECK(early.err.find("encode it first") != std::string::npos);
  const Json encoded = rig.run(with + "encode " + rig.pdf).json();
  REQUIRE(encoded.is_object());
  CHECK(encoded["nodes"].get<int>() > encoded["leaves"].get<int>());
  CHECK(encoded["node_bytes"].get<int64_t>() > 0 && encoded["node_bytes"] < encoded["bytes"]);
  const Json listed = rig.run(with + "list").json()["documents"][0]["encoded"][0];
  CHECK(listed["leaves_done"] == encoded["leaves"] && listed["nodes_done"] == encoded["nodes"]);

  const Json asked = rig.run(with + ask + "memory_tokens --children 1").json();
  REQUIRE(asked.is_object());
  CHECK_EQ(asked["evidence"].get<std::string>(), std::string("memory_tokens"));
  const Json &stats = asked["stats"], &route = asked["route"];
  CHECK(stats["memory_tokens"].get<int>() >= 2 && stats["query_ms"].get<double>() > 0);
  size_t kept = 0;
  for (const Json& node : route["trace"]) kept += node["kept"].get<bool>() ? 1 : 0;
  CHECK_EQ(kept, stats["memory_tokens"].get<size_t>());  // one path from the top to a leaf
  CHECK(route["trace"].size() > kept);                   // beside what was left out
  CHECK_EQ(route["leaves"].size(), size_t{1});

  const std::string eval = with + "eval qa --max-tokens 5 --questions " + qa + "," + qa + " --documents " +
                           rig.folder.path().string() + " --children 1 --evidence ";
  const Json rows = rig.run(eval + "leaf_kv,memory_tokens,memory_tokens+leaf_kv").json()["evidence"];
  REQUIRE(rows.size() == 3);
  for (const Json& row : rows) {
    CHECK_EQ(row["questions"].get<int>(), 2);
    CHECK_EQ(row["f1_spread"].get<double>(), 0.0);  // the same questions twice
    CHECK(!row["gold_survives"].empty() && row["bytes_kept"].get<int64_t>() > 0);
  }
  CHECK_EQ(rows[0]["gold_leaves_survive"].get<double>(), 1.0);
  CHECK(rows[1]["bytes_kept"] < rows[0]["bytes_kept"] && rows[0]["bytes_kept"] < rows[2]["bytes_kept"]);
  CHECK(rows[1]["evidence_tokens"] < rows[2]["evidence_tokens"]);
  CHECK_EQ(rows[1]["gold_leaves_survive"].get<double>(), 1.0);  // the question's words lead there
  const Json gold = rig.run(eval + "memory_tokens --memory-routing gold").json()["evidence"][0];
  for (const Json& level : gold["gold_survives"]) CHECK_EQ(level.get<double>(), 1.0);

  const Outcome no_model = rig.run("--adapter " + adapter + " " + ask + "memory_tokens");
  CHECK_EQ(no_model.status, 2);
  CHECK(no_model.err.find("adapter that was trained for it") != std::string::npos);
  const Outcome no_adapter = rig.run("--model " + rig.model + " --adapter " + rig.model + " " + ask + "exact");
  CHECK_EQ(no_adapter.status, 1);
  CHECK(no_adapter.err.find("is not an adapter of this program") != std::string::npos);
}

TEST(a_recurrent_memory_is_trained_answers_and_is_measured) {
  const Rig rig;
  std::ofstream(rig.folder / "qa.jsonl")
      << R"({"document": "manual.pdf", "question": "How much does pump number 1 deliver?", "answers": )"
      << R"(["107 litres per minute"], "pages": [2]})"
      << "\n";
  const std::string qa = (rig.folder / "qa.jsonl").string(), adapter = (rig.folder / "a.gguf").string(),
                    with = "--json --model " + rig.model + " --adapter " + adapter + " ",
                    train = "--model " + rig.model + " train --method hmt --corpus " + rig.pdf + " --out ";
  const std::string lengths = " --segment-tokens 48 --sensory-tokens 8 --step-tokens 200 --step-segments 3 --steps 4";
  CHECK_EQ(rig.run(train + adapter + lengths + " --qa " + qa + " --held-out 0").status, 0);
  const Json encoded = rig.run(with + "encode " + rig.pdf).json();
  REQUIRE(encoded.is_object());
  CHECK(encoded["nodes"].get<int>() > 4);  // segments

  const std::string eval =
      with + "eval qa --max-tokens 5 --questions " + qa + " --documents " + rig.folder.path().string() + " --evidence ";
  const Outcome measured = rig.run(eval + "hmt");
  REQUIRE(measured.json().is_object());
  const Json row = measured.json()["evidence"][0];
  CHECK_EQ(row["memory_tokens"].get<double>(), 1.0);
  CHECK_EQ(row["evidence_tokens"].get<double>(), 9.0);
  CHECK(row["bytes_kept"].get<int64_t>() > 0 && !row["gold_survives"].empty());
  const Outcome led = rig.run(eval + "hmt --memory-routing gold");
  REQUIRE(led.json().is_object());
  const Json gold = led.json()["evidence"][0];
  CHECK_EQ(gold["gold_leaves_survive"].get<double>(), 1.0);

  const Outcome wrong = rig.run(eval + "memory_tokens");
  CHECK(wrong.status != 0 && wrong.err.find("choose hmt as evidence") != std::string::npos);
  const Outcome longer = rig.run(train + (rig.folder / "b.gguf").string() + " --segment-tokens 100000 --steps 1");
  CHECK_EQ(longer.status, 2);
  CHECK(longer.err.find("make segments shorter") != std::string::npos);
  const Outcome unknown = rig.run(train + (rig.folder / "b.gguf").string() + " --method rmt");
  CHECK(unknown.status != 0);
}

TEST(training_says_what_is_wrong_with_what_it_is_given) {
  const Rig rig;
  const std::string out = " --out " + (rig.folder / "a.gguf").string(), model = "--model " + rig.model + " ";
  const auto fails = [&](const std::string& arguments, int status, const std::string& words) {
    const Outcome outcome = rig.run(arguments);
    CHECK_EQ(outcome.status, status);
    if (outcome.err.find(words) == std::string::npos) fail(__FILE__, __LINE__, arguments + ": " + outcome.err);
  };
  fails("train --corpus " + rig.pdf + out, 2, "name its file with --model");
  fails(model + "train --corpus library" + out, 2, "no document to train on");
  fails(model + "train --corpus /nowhere" + out, 1, "/nowhere");
  fails(model + "train --corpus " + rig.pdf + out + " --targets q,x", 2, "no matrix “x”");
  fails(model + "train --corpus " + rig.pdf + out + " --aggregation median", 2, "no aggregation “median”");
  fails(model + "train --corpus " + rig.pdf + out + " --qa /nowhere.jsonl", 1, "/nowhere.jsonl");
  fails(model + "train --corpus " + rig.pdf + out + " --write-questions 3", 2, "questions of your own");
  fails(model + "train --corpus " + rig.pdf + out + " --write-questions 3 --qa q.jsonl", 2, "excludes");
  fails(model + "train --corpus " + rig.pdf + " --out /proc/none/a.gguf --steps 1", 1, "cannot be written");
  fails(model + "train --corpus " + rig.pdf + " --out " + rig.model, 2, "is the model itself");
  fails(model + "train --corpus " + rig.pdf + out + " --steps 1 --recalled 3", 2,
        "--recalled is not for a memory by h2mt");
  fails(model + "train --corpus " + rig.pdf + out + " --steps 1 --method hmt --whole-texts", 2,
        "is not for a memory by hmt");
  fails(model + "train --corpus " + rig.pdf + out + " --begin-with /none.gguf", 1, "The adapter /none.gguf");
  // Before questions are written, which this model cannot do.
  fails(model + "--memory-limit 1MiB train --corpus " + rig.pdf + out + " --write-questions 3", 1, "may have 1 MiB");
  fails(model + "train --corpus " + rig.pdf + " --out " + rig.pdf + " --write-questions 3", 2,
        "what is to be trained on");
  std::ofstream(rig.folder / "mine.gguf") << "mine";
  fails(model + "train --corpus " + rig.pdf + " --write-questions 3 --out " + (rig.folder / "mine.gguf").string(), 2,
        "is there already");
  std::ofstream(rig.folder / "bad.jsonl") << "{\"document\": 3}\n";
  fails(model + "train --corpus " + rig.pdf + out + " --qa " + (rig.folder / "bad.jsonl").string(), 1,
        "no questions in a known form");
  std::ofstream(rig.folder / "other.jsonl") << R"({"document": "x", "question": "?", "answers": ["a"]})";
  fails(model + "train --corpus " + rig.pdf + out + " --qa " + (rig.folder / "other.jsonl").string(), 2,
        "None of the questions");
}
