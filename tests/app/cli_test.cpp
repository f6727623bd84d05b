// longleaf-cli as a user runs it: outputs, exit statuses, and what survives being killed.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <set>

#include "ingest/library/import_queue.h"
#include "tests/support/check.h"
#include "tests/support/cli_rig.h"

using namespace longleaf::test;
using Rig = CliRig;

namespace {

std::string quoted(const std::string& text) { return "'" + text + "'"; }

// Presses Ctrl-C after a while. Returns what waitpid tells.
int stop_after(const std::string& command, useconds_t microseconds) {
  const pid_t child = fork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), nullptr);
    _exit(127);
  }
  usleep(microseconds);
  kill(child, SIGINT);
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

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

TEST(what_a_broken_run_left_is_told_and_read_without_naming_it) {
  const Rig rig;
  const auto shelf = rig.folder / "shelf";
  std::filesystem::create_directories(shelf);
  for (const char* name : {"one.md", "two.md", "three.md"})
    std::ofstream(shelf / name) << "# The " << name << " document\n\nIt says little.";
  {
    auto library = longleaf::Library::open(rig.folder / "lib");
    REQUIRE_OK(library);
    longleaf::ImportQueue queue(**library);
    REQUIRE_OK(queue.add({shelf / "one.md", shelf / "two.md", shelf / "three.md"}, false));
    for (int attempt = 0; attempt < 2; ++attempt) REQUIRE_OK(queue.begin(shelf / "two.md"));  // and never ended
  }
  const Json before = rig.run("--json list").json();
  CHECK_EQ(before["waiting"].get<int>(), 2);
  REQUIRE(before["set_aside"].size() == 1);
  CHECK(before["set_aside"][0].get<std::string>().find("two.md") != std::string::npos);
  CHECK(rig.run("list").out.find("two.md was set aside") != std::string::npos);
  const auto rest = rig.run("--json import");
  CHECK_EQ(rest.status, 0);
  CHECK_EQ(rest.json()["documents"].size(), size_t{2});
  const auto none = rig.run("import");
  CHECK_EQ(none.status, 2);
  CHECK(none.err.find("No file waits") != std::string::npos);
  CHECK_EQ(rig.run("import " + (shelf / "two.md").string()).status, 0);
  CHECK(rig.run("--json list").json()["set_aside"].empty());
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

TEST(what_waited_goes_on_waiting_when_its_import_is_stopped) {
  const Rig rig;
  std::vector<std::filesystem::path> files;
  for (int i = 1; i <= 3; ++i) {
    files.push_back(rig.folder / ("large" + std::to_string(i) + ".pdf"));
    manual({.pages = 1500, .outline = true, .salt = i}).save(files.back().string());
  }
  {
    auto library = longleaf::Library::open(rig.folder / "lib");
    REQUIRE_OK(library);
    REQUIRE_OK(longleaf::ImportQueue(**library).add(files, false));
  }
  stop_after(rig.command("import >/dev/null 2>&1"), 300000);
  const Json after = rig.run("--json list").json();
  int ready = 0;
  for (const Json& document : after["documents"]) ready += document["ready"].get<bool>() ? 1 : 0;
  CHECK_EQ(after["waiting"].get<int>() + ready, 3);
}

TEST(ctrl_c_stops_cleanly_and_keeps_what_was_done) {
  const Rig rig(200);
  CHECK_EQ(rig.run("import " + rig.pdf).status, 0);
  const int status = stop_after(
      rig.command("--model " + rig.model + " encode " + rig.pdf + " >/dev/null 2>" + (rig.folder / "err").string()),
      1000000);
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
