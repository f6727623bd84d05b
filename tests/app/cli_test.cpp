// longleaf-cli as a user runs it: outputs, exit statuses, and what survives being killed.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "tests/support/check.h"
#include "tests/support/manual.h"
#include "tests/support/programs.h"
#include "tests/support/random_model.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf::test;
using Json = nlohmann::json;

namespace {

struct Outcome {
  int status;
  std::string out, err;
  Json json() const { return Json::parse(out, nullptr, false); }
};

std::string slurp(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string quoted(const std::string& text) { return "'" + text + "'"; }

struct Rig {
  TemporaryFolder folder;
  std::string pdf = (folder / "manual.pdf").string(), model = (folder / "model.gguf").string();
  explicit Rig(int pages = 10) {
    manual({.pages = pages, .outline = true, .salt = 0}).save(pdf);
    std::ofstream(model, std::ios::binary) << random_model_gguf({.layers = 4,
                                                                 .d_model = 64,
                                                                 .heads = 4,
                                                                 .kv_heads = 2,
                                                                 .d_ff = 128,
                                                                 .context = 2000,
                                                                 .seed = 2,
                                                                 .chat_template = "<|im_start|>"});
  }
  std::string command(const std::string& arguments) const {
    return program("longleaf-cli").string() + " --library " + (folder / "lib").string() + " " + arguments;
  }
  Outcome run(const std::string& arguments) const {
    const std::string line =
        command(arguments) + " >" + (folder / "out").string() + " 2>" + (folder / "err").string() + " </dev/null";
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128, slurp(folder / "out"), slurp(folder / "err")};
  }
};

}  // namespace

TEST(import_list_tree_text_and_search_give_their_json) {
  const Rig rig;
  const auto import = rig.run("--json import " + rig.pdf);
  CHECK_EQ(import.status, 0);
  const Json document = import.json()["documents"][0];
  CHECK_EQ(document["pages"].get<int>(), 10);
  CHECK_EQ(document["sections"].get<int>(), 10);
  CHECK(document["warnings"].empty());
  const std::string id = document["id"].get<std::string>();
  CHECK_EQ(rig.run("--json list").json()["documents"][0]["id"].get<std::string>(), id);
  const Json tree = rig.run("--json tree " + id.substr(0, 8)).json();
  std::set<long> seen;
  for (const Json& node : tree["nodes"]) {  // parents come first
    CHECK(node["parent"].is_null() || seen.count(node["parent"].get<long>()) == 1);
    seen.insert(node["id"].get<long>());
    CHECK(node["page_first"].get<int>() >= 1 && node["page_last"].get<int>() <= 10);
  }
  const Json text = rig.run("--json text " + id + " --pages 3-4").json();
  CHECK(!text["blocks"].empty());
  for (const Json& block : text["blocks"]) CHECK(block["page"].get<int>() == 3 || block["page"].get<int>() == 4);
  const Json hits = rig.run("--json search " + id + " litres minute").json()["hits"];
  CHECK_EQ(hits.size(), size_t{10});
  CHECK(rig.run("import " + rig.pdf).out.find("already in your library") != std::string::npos);
}

TEST(a_folder_stands_for_the_documents_in_it) {
  const Rig rig;
  const auto folder = std::filesystem::path(rig.pdf).parent_path() / "shelf" / "deep";
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(rig.pdf, folder / "Copy.PDF");
  std::ofstream(folder / "notes.jpg") << "no document";
  const auto import = rig.run("--json import " + folder.parent_path().string()).json();
  REQUIRE(import["documents"].size() == 1);
  CHECK(import["documents"][0]["pages"].get<int>() > 0);
  std::filesystem::remove(folder / "Copy.PDF");
  const auto none = rig.run("import " + folder.parent_path().string());
  CHECK_EQ(none.status, 1);
}

TEST(ask_imports_the_file_and_cites_its_page) {
  const Rig rig;
  const auto asked = rig.run("--json ask " + rig.pdf + " 'How many litres per minute does pump number 3 deliver?'");
  CHECK_EQ(asked.status, 0);
  const Json json = asked.json();
  CHECK_EQ(json["evidence"].get<std::string>(), std::string("quote"));
  CHECK_EQ(json["citations"][0]["page"].get<int>(), 4);
  CHECK(json["citations"][0]["quote"].get<std::string>().find("121 litres") != std::string::npos);
  CHECK(json["route"]["trace"].size() > 10);
  const auto shown = rig.run("ask " + rig.pdf + " 'How many litres per minute does pump number 3 deliver?'");
  CHECK(shown.out.find("page 4") != std::string::npos);
}

TEST(a_path_means_the_file_as_it_is_now) {
  const Rig rig(3);
  CHECK(rig.run("text " + rig.pdf).out.find("pump number 2") != std::string::npos);
  manual({.pages = 8, .outline = true, .salt = 5}).save(rig.pdf);
  CHECK(rig.run("text " + rig.pdf).out.find("pump number 7") != std::string::npos);
}

TEST(an_encoded_document_is_asked_without_reading_it_again) {
  const Rig rig(60);
  const std::string model = "--model " + rig.model + " --json ";
  const Json encoded = rig.run(model + "encode " + rig.pdf).json();
  CHECK(encoded["tokens"].get<int>() > 5000 && encoded["bytes"].get<long>() > 0);
  const std::string question = " 'How many litres per minute does pump number 3 deliver?' --max-tokens 8";
  const Json reuse = rig.run(model + "ask " + rig.pdf + question + " --evidence leaf_kv").json();
  const Json exact = rig.run(model + "ask " + rig.pdf + question + " --evidence exact").json();
  CHECK(reuse["stats"]["prefill_tokens"].get<int>() < 150);  // template and question, in bytes for this model
  CHECK(exact["stats"]["prefill_tokens"].get<int>() > 1000);
  CHECK(reuse["stats"]["ttft_ms"].get<double>() > 0 && reuse["stats"]["peak_host_bytes"].get<long>() > 0);
  CHECK(rig.run(model + "list").json()["documents"][0]["encoded"][0]["leaves_done"].get<int>() > 50);
  CHECK_EQ(rig.run("--json delete " + quoted("Pump manual 0")).status, 0);
  CHECK(std::filesystem::is_empty(rig.folder / "lib" / "memory"));
}

TEST(killing_an_encode_loses_at_most_the_leaf_in_hand) {
  const Rig rig(40);
  CHECK_EQ(rig.run("import " + rig.pdf).status, 0);
  const auto done = [&] {
    const Json list = rig.run("--model " + rig.model + " --json list").json();
    return list["documents"][0]["encoded"][0]["leaves_done"].get<int>();
  };
  std::mt19937 random(31);
  int before = 0, kills = 0;
  for (; kills < 50; ++kills) {
    const pid_t child = fork();
    if (child == 0) {
      const std::string line =
          "exec " + rig.command("--model " + rig.model + " encode " + rig.pdf + " >/dev/null 2>&1");
      execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
      _exit(127);
    }
    usleep(5000 + random() % 60000);
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    const int now = done();
    CHECK(now >= before);
    before = now;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {  // it was faster than the kill: begin anew
      std::filesystem::remove_all(rig.folder / "lib" / "memory");
      before = 0;
    }
  }
  CHECK_EQ(rig.run("--model " + rig.model + " encode " + rig.pdf).status, 0);
  CHECK(done() >= 40);
  const std::string question =
      " ask " + rig.pdf +
      " 'How many litres does pump number 3 deliver?' --max-tokens 16 --evidence-tokens 100000 --json";
  CHECK_EQ(rig.run("--model " + rig.model + question + " --evidence leaf_kv").status, 0);
}

TEST(ctrl_c_stops_cleanly_and_keeps_what_was_done) {
  const Rig rig(200);
  CHECK_EQ(rig.run("import " + rig.pdf).status, 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string line = "exec " + rig.command("--model " + rig.model + " encode " + rig.pdf + " >/dev/null 2>" +
                                                   (rig.folder / "err").string());
    execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
    _exit(127);
  }
  usleep(300000);
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));  // 1 when it was stopped, 0 when it had finished by then
  CHECK(WEXITSTATUS(status) == 0 || slurp(rig.folder / "err").find("Stopped") != std::string::npos);
}

TEST(every_mistake_gets_a_sentence_and_its_exit_status) {
  const Rig rig;
  const auto expect = [&](const std::string& arguments, int status, const std::string& words) {
    const auto outcome = rig.run(arguments);
    if (outcome.status != status || outcome.err.find(words) == std::string::npos)
      fail(__FILE__, __LINE__, arguments + ": " + std::to_string(outcome.status) + " " + outcome.err);
  };
  expect("", 2, "subcommand");
  expect("nonsense", 2, "");
  expect("import /no/such/file.pdf", 1, "cannot be opened");
  std::ofstream(rig.folder / "fake.pdf") << "this is not a pdf at all, really";
  expect("import " + (rig.folder / "fake.pdf").string(), 1, "not a PDF");
  expect("tree unknown", 1, "no document");
  expect("encode " + rig.pdf, 2, "--model");
  expect("--model " + rig.pdf + " encode " + rig.pdf, 1, "not a GGUF");
  expect("--model /no/model.gguf encode " + rig.pdf, 1, "cannot be opened");
  expect("--device gpu --model " + rig.model + " encode " + rig.pdf, 2, "There is no device gpu");
  // What doctor says of a card that cannot be used is what a command says that asks for one.
  const auto reason = rig.run("--json doctor").json()["gpu"]["reason"].get<std::string>();
  if (!reason.empty()) expect("--device cuda --model " + rig.model + " encode " + rig.pdf, 1, reason.c_str());
  expect("ask " + rig.pdf + " question --evidence magic", 2, "choose auto");
  expect("ask " + rig.pdf + " question --evidence memory_tokens", 2, "adapter");
  expect("text " + rig.pdf + " --pages 9-3", 2, "A-B");
  expect("text " + rig.pdf + " --pages 1-abc", 2, "A-B");
  expect("ask " + rig.pdf + " ''", 2, "empty");
  expect("eval retrieval --questions /no/file --documents /tmp", 1, "cannot be opened");
  const std::string nowhere = program("longleaf-cli").string() + " --library /proc/nowhere list 2>/dev/null";
  CHECK_EQ(WEXITSTATUS(std::system(nowhere.c_str())), 1);
}

TEST(one_bad_file_does_not_stop_the_others) {
  const Rig rig;
  std::ofstream(rig.folder / "bad.pdf") << "nothing";
  const auto outcome = rig.run("--json import " + (rig.folder / "bad.pdf").string() + " " + rig.pdf);
  CHECK_EQ(outcome.status, 1);
  CHECK_EQ(outcome.json()["documents"].size(), size_t{1});
  CHECK(outcome.err.find("bad.pdf") != std::string::npos);
}

TEST(models_bench_doctor_check_and_backup_work) {
  const Rig rig;
  const Json shown = rig.run("--json models show " + rig.model).json();
  CHECK_EQ(shown["architecture"].get<std::string>(), std::string("llama"));
  CHECK_EQ(shown["layers"].get<int>(), 4);
  const Json bench = rig.run("--json --model " + rig.model + " bench --prompt 64 --generate 8 --repeat 2").json();
  CHECK_EQ(bench["prefill_tokens_per_s"].size(), size_t{2});
  CHECK(bench["decode_tokens_per_s"][0].get<double>() > 0);
  const auto doctor = rig.run("--json doctor");
  CHECK_EQ(doctor.status, 0);
  const auto gpu = doctor.json()["gpu"];
  CHECK_EQ(gpu["used"].get<bool>(), gpu["reason"].get<std::string>().empty());
  CHECK_EQ(rig.run("import " + rig.pdf).status, 0);
  CHECK_EQ(rig.run("check").status, 0);
  CHECK_EQ(rig.run("backup " + (rig.folder / "copy.sqlite").string()).status, 0);
  CHECK_EQ(rig.run("backup " + (rig.folder / "copy.sqlite").string()).status, 2);
}

TEST(a_draft_model_speeds_up_without_changing_the_answer) {
  const Rig rig;
  const std::string draft = (rig.folder / "draft.gguf").string(), foreign = (rig.folder / "foreign.gguf").string();
  std::ofstream(draft, std::ios::binary) << random_model_gguf(
      {.layers = 1, .d_model = 64, .heads = 4, .kv_heads = 2, .d_ff = 64, .context = 2000, .seed = 7});
  std::filesystem::copy(LONGLEAF_TEST_DATA "/models/qwen2.gguf", foreign);
  const std::string ask = " ask " + rig.pdf + " --max-tokens 40 'How much does pump number 7 deliver?'";
  const auto plain = rig.run("--json --model " + rig.model + ask);
  const auto drafted = rig.run("--json --model " + rig.model + " --draft " + rig.model + ask);
  CHECK_EQ(plain.status, 0);
  CHECK_EQ(drafted.status, 0);
  CHECK(plain.json()["answer"] == drafted.json()["answer"]);
  CHECK(drafted.json()["stats"].contains("accepted_tokens"));
  const auto gated = rig.run("--json --model " + rig.model + " --draft " + draft + ask +
                             " --decode bild --hand-over 0 --roll-back 100");
  CHECK_EQ(gated.status, 0);
  CHECK(gated.json()["answer"] != plain.json()["answer"]);  // the draft model's own
  CHECK_EQ(rig.run("--model " + rig.model + ask + " --decode bild").status, 2);
  const auto refused = rig.run("--model " + rig.model + " --draft " + foreign + ask);
  CHECK_EQ(refused.status, 1);
  CHECK(refused.err.find("another vocabulary") != std::string::npos);
}

TEST(an_embedding_model_reads_a_document_once_and_helps_to_route) {
  const Rig rig;
  const std::string embedder = " --embedder " LONGLEAF_TEST_DATA "/models/bert.gguf";
  const auto encoded = rig.run("--json" + embedder + " encode " + rig.pdf);
  CHECK_EQ(encoded.status, 0);
  CHECK(encoded.json()["leaves"].get<int>() > 5);
  const auto again = rig.run("--progress" + embedder + " route " + rig.pdf + " 'pump number 7'");
  CHECK_EQ(again.status, 0);
  CHECK(again.err.find("Reading for meaning") == std::string::npos);  // the vectors were kept
  const auto asked =
      rig.run("--json" + embedder + " ask " + rig.pdf + " 'How many litres per minute does pump number 7 deliver?'");
  CHECK_EQ(asked.json()["citations"][0]["page"].get<int>(), 8);
  // Nothing in the question is a word of the document: only meaning can rank its leaves.
  CHECK(rig.run("--json route " + rig.pdf + " zzz").json()["leaves"].empty());
  CHECK(!rig.run("--json" + embedder + " route " + rig.pdf + " zzz").json()["leaves"].empty());
  const auto shown = rig.run("--json models show " LONGLEAF_TEST_DATA "/models/bert.gguf");
  CHECK_EQ(shown.json()["use"].get<std::string>(), "embedding");
  const auto wrong = rig.run("--model " LONGLEAF_TEST_DATA "/models/bert.gguf ask " + rig.pdf + " x");
  CHECK_EQ(wrong.status, 1);
  CHECK(wrong.err.find("--embedder") != std::string::npos);
}

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
  CHECK(half.err.find("need an adapter") != std::string::npos);
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
  const Json gold = rig.run(eval + "memory_tokens --memory-routing gold").json()["evidence"][0];
  for (const Json& level : gold["gold_survives"]) CHECK_EQ(level.get<double>(), 1.0);

  const Outcome no_model = rig.run("--adapter " + adapter + " " + ask + "memory_tokens");
  CHECK_EQ(no_model.status, 2);
  CHECK(no_model.err.find("adapter that was trained for it") != std::string::npos);
  const Outcome no_adapter = rig.run("--model " + rig.model + " --adapter " + rig.model + " " + ask + "exact");
  CHECK_EQ(no_adapter.status, 1);
  CHECK(no_adapter.err.find("is not an adapter of this program") != std::string::npos);
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
  fails(model + "train --corpus " + rig.pdf + " --out /proc/none/a.gguf --steps 1", 1, "cannot be written");
  fails(model + "train --corpus " + rig.pdf + " --out " + rig.model, 2, "is the model itself");
  std::ofstream(rig.folder / "bad.jsonl") << "{\"document\": 3}\n";
  fails(model + "train --corpus " + rig.pdf + out + " --qa " + (rig.folder / "bad.jsonl").string(), 1,
        "no questions in a known form");
  std::ofstream(rig.folder / "other.jsonl") << R"({"document": "x", "question": "?", "answers": ["a"]})";
  fails(model + "train --corpus " + rig.pdf + out + " --qa " + (rig.folder / "other.jsonl").string(), 2,
        "None of the questions");
}
