// A training as a user starts it: that it is taken up again to the same bits, what it leaves, and what goes wrong.
#include "engine/train/training_run.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "engine/base/checksum.h"
#include "tests/support/training_rig.h"

using namespace longleaf;
using namespace longleaf::train;
using namespace longleaf::test;

TEST(a_run_that_was_stopped_goes_on_to_the_bits_of_one_that_was_not) {
  TrainingRig whole, stopped;
  REQUIRE_OK(whole.run());
  auto part = stopped.run(5);
  REQUIRE_OK(part);
  CHECK(part->stopped);
  CHECK_EQ(part->steps, 5);
  // What a killed run wrote behind its last state is dropped.
  REQUIRE(append_to_file(stopped.folder / "a.gguf.csv", "6,questions,9,9,9,9,9,,,\n").ok());
  auto rest = stopped.run();
  REQUIRE_OK(rest);
  CHECK_EQ(rest->steps, 12);
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"}) CHECK(whole.file(name) == stopped.file(name));
  auto again = stopped.run();
  REQUIRE_OK(again);
  CHECK_EQ(again->steps, 12);
}

TEST(a_run_that_was_killed_goes_on_to_the_same_bits_from_what_it_saved_last) {
  TrainingRig whole, killed;
  REQUIRE_OK(whole.run());
  const pid_t child = fork();
  if (child == 0) {
    auto training = TrainingRun::prepare(killed.options, killed.input);
    (void)(*training)->run(
        [](const TrainingProgress& p) {
          if (p.step.step == 8) _exit(0);
        },
        {});
    _exit(1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  auto training = TrainingRun::prepare(killed.options, killed.input);
  REQUIRE_OK(training);
  CHECK_EQ((*training)->steps_done(), 6);
  REQUIRE_OK((*training)->run(nullptr, {}));
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"}) CHECK(whole.file(name) == killed.file(name));
}

TEST(an_adapter_is_read_back_as_it_was_trained_and_belongs_to_its_model) {
  TrainingRig rig;
  REQUIRE_OK(rig.run());
  auto model = ModelFile::open(rig.options.model);
  REQUIRE_OK(model);
  auto adapter = load_adapter(rig.options.out, **model, fingerprint_of(**model));
  REQUIRE_OK(adapter);
  CHECK_EQ(adapter->lora_rank, 2);
  CHECK(adapter->lora_alpha == rig.options.lora.alpha);
  CHECK(adapter->memory.scales && adapter->memory.aggregation == Aggregation::Graph);
  CHECK_EQ(adapter->memory.d_routing, 32);
  size_t lora = 0, memory = 0;
  for (const AdapterTensor& t : adapter->tensors) (t.name.starts_with("h2mt.") ? memory : lora) += 1;
  CHECK_EQ(lora, size_t{2 * 7 * 2});
  CHECK_EQ(memory, size_t{9});

  RandomModel other;
  other.seed = 2;
  REQUIRE(write_file(rig.folder / "other.gguf", random_model_gguf(other)).ok());
  auto wrong = ModelFile::open(rig.folder / "other.gguf");
  REQUIRE_OK(wrong);
  const auto refused = load_adapter(rig.options.out, **wrong, fingerprint_of(**wrong));
  CHECK(refused.status().code() == Code::Invalid);
  CHECK(refused.status().message().find("was trained for the model “random”") != std::string::npos);
  CHECK(load_adapter(rig.options.model, **model, 1).status().code() == Code::Unsupported);
  CHECK(load_adapter(rig.folder / "none.gguf", **model, 1).status().code() == Code::NotFound);

  // Every truncation is refused, and never more than that.
  const std::string bytes = rig.file("a.gguf");
  for (size_t n = 0; n < bytes.size(); n += 997) {
    REQUIRE(write_file(rig.folder / "cut.gguf", std::string_view(bytes).substr(0, n)).ok());
    const auto cut = load_adapter(rig.folder / "cut.gguf", **model, fingerprint_of(**model));
    CHECK(cut.status().message().starts_with("The adapter ") && cut.status().code() == Code::Corrupt);
  }
  std::string nan = bytes;
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(nan.data() + nan.size() - 64, &bad, 4);
  REQUIRE(write_file(rig.folder / "nan.gguf", nan).ok());
  CHECK(load_adapter(rig.folder / "nan.gguf", **model, fingerprint_of(**model)).status().code() == Code::Corrupt);
}

TEST(a_training_begins_with_what_another_left_in_its_shape) {
  for (const MemoryMethod method : {MemoryMethod::Tree, MemoryMethod::Recurrent}) {
    TrainingRig first;
    first.options.lora.rank = 3, first.options.lora.alpha = 5, first.options.lora.targets = {"k", "down"};
    first.options.memory.method = method, first.options.memory.aggregation = Aggregation::Mean;
    first.options.memory.segment_tokens = 40, first.options.memory.sensory_tokens = 4;
    const bool is_tree = method == MemoryMethod::Tree;
    if (is_tree) first.options.piece_tokens = 9, first.options.children = 2;
    REQUIRE_OK(first.run());
    TrainingRig second;
    second.options.begin = first.options.out;
    second.options.steps.optimizer.rate = 0;  // which leaves everything as it was
    second.options.steps.optimizer.total_steps = 2;
    REQUIRE_OK(second.run());
    auto model = ModelFile::open(first.options.model);
    REQUIRE_OK(model);
    const auto before = load_adapter(first.options.out, **model, fingerprint_of(**model));
    const auto after = load_adapter(second.options.out, **model, fingerprint_of(**model));
    REQUIRE(before.ok() && after.ok());
    CHECK(after->memory.method == method && after->memory.aggregation == before->memory.aggregation);
    CHECK(after->lora_rank == 3 && after->lora_alpha == 5);
    CHECK_EQ(after->memory.piece_tokens, is_tree ? 9 : 0);
    CHECK_EQ(after->memory.children, is_tree ? 2 : 4);
    REQUIRE(after->tensors.size() == before->tensors.size());
    for (size_t i = 0; i < after->tensors.size(); ++i) {
      CHECK(after->tensors[i].name == before->tensors[i].name);
      CHECK(after->tensors[i].values == before->tensors[i].values);
    }
    // What it began with decides what is learnt: a state of another beginning is not gone on with.
    TrainingRig other;
    other.options.lora = first.options.lora, other.options.memory = first.options.memory;
    other.options.steps.seed = 2;
    REQUIRE_OK(other.run());
    second.options.begin = other.options.out;
    CHECK(second.run().status().code() == Code::Invalid);
    second.options.begin = first.options.out;
    CHECK(second.run().ok());
  }
}

TEST(what_a_training_cannot_begin_with_is_refused) {
  TrainingRig rig;
  REQUIRE_OK(rig.run(3));
  auto model = ModelFile::open(rig.options.model);
  REQUIRE_OK(model);
  const auto whole = load_adapter(rig.options.out, **model, fingerprint_of(**model));
  REQUIRE_OK(whole);
  const auto begun_with = [&](const AdapterContents& contents) {
    TrainingRig other;
    other.options.begin = other.folder / "begin.gguf";
    CHECK(save_adapter(other.options.begin, contents).ok());
    const auto result = other.run();
    CHECK(!std::filesystem::exists(other.options.out));
    return result.status();
  };
  AdapterContents lacking = *whole, more = *whole, wider = *whole, foreign = *whole;
  lacking.tensors.pop_back();
  CHECK(begun_with(lacking).message().find("lacks parts") != std::string::npos);
  more.tensors.push_back({"blk.0.ssm_in.weight.lora_a", 2, 32, std::vector<float>(64)});
  CHECK(begun_with(more).message().find("ssm_in") != std::string::npos);
  for (AdapterTensor& tensor : wider.tensors)
    if (tensor.name == "h2mt.e_read") tensor = {"h2mt.e_read", 1, 33, std::vector<float>(33)};
  CHECK(begun_with(wider).code() == Code::Corrupt);
  foreign.model_fingerprint ^= 1;
  CHECK(begun_with(foreign).code() == Code::Invalid);
  rig.options.begin = rig.folder / "none.gguf";
  CHECK(rig.run().status().code() == Code::NotFound);
}

TEST(a_state_of_other_texts_or_settings_is_not_taken_up) {
  TrainingRig rig;
  REQUIRE_OK(rig.run(3));
  const std::string state = rig.file("a.gguf.state");
  TrainingRig changed;
  changed.input.documents[0].nodes[2].text += " More.";
  REQUIRE(write_file(changed.folder / "a.gguf.state", state).ok());
  CHECK(changed.run().status().code() == Code::Invalid);
  TrainingRig faster;
  faster.options.steps.optimizer.rate *= 2;
  REQUIRE(write_file(faster.folder / "a.gguf.state", state).ok());
  CHECK(faster.run().status().code() == Code::Invalid);
  TrainingRig damaged;
  REQUIRE(write_file(damaged.folder / "a.gguf.state", state.substr(0, state.size() - 1)).ok());
  CHECK(damaged.run().status().code() == Code::Corrupt);
  CHECK(damaged.file("a.gguf.state").size() == state.size() - 1);  // left for whoever wants to look
}

TEST(texts_that_nothing_can_be_learnt_from_are_said_so) {
  TrainingRig rig;
  rig.input.questions.clear();
  rig.options.steps.corpus_steps = 0;
  CHECK(rig.run().status().code() == Code::Invalid);
  for (DocumentNode& node : rig.input.documents[0].nodes) node.text.clear();
  const auto empty = rig.run();
  CHECK(empty.status().code() == Code::Invalid);
  CHECK(empty.status().message().find("no text") != std::string::npos);
  rig.input.documents.clear();
  CHECK(rig.run().status().code() == Code::Invalid);
}

TEST(a_loss_that_is_no_number_ends_a_run_and_what_was_saved_stays) {
  TrainingRig rig;
  REQUIRE_OK(rig.run(3));
  const std::string state = rig.file("a.gguf.state");
  // A training whose parameters have run away: the state says so, and is whole.
  std::string broken = state;
  const float bad = 1e38f;
  constexpr size_t kHead = 72, kFirstValue = kHead + 24 + 8;  // of a matrix of 2 x 32
  for (size_t i = 0; i < 64; ++i) std::memcpy(broken.data() + kFirstValue + 4 * i, &bad, 4);
  const uint32_t sum = crc32c(broken.data() + kHead, broken.size() - kHead - 4);
  std::memcpy(broken.data() + broken.size() - 4, &sum, 4);
  REQUIRE(write_file(rig.folder / "a.gguf.state", broken).ok());
  const auto result = rig.run();
  CHECK(result.status().code() == Code::Invalid);
  CHECK(result.status().message().find("lower learning rate") != std::string::npos);
  CHECK(rig.file("a.gguf.state") == broken);
}

TEST(parameters_that_are_no_numbers_do_not_become_an_adapter) {
  TrainingRig rig;
  rig.options.held_out = 0, rig.options.score_every = 1;  // the last is the best, and is saved at once
  rig.options.steps.optimizer.rate = std::numeric_limits<float>::infinity();
  const auto result = rig.run();
  CHECK(result.status().code() == Code::Invalid);
  CHECK(!std::filesystem::exists(rig.options.out));
}

TEST(a_full_disk_ends_a_run_with_a_sentence_and_keeps_what_was_saved) {
  TrainingRig rig;
  REQUIRE_OK(rig.run(6));
  const std::string state = rig.file("a.gguf.state"), adapter = rig.file("a.gguf");
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{8192, before.rlim_max};  // files grow no further, as on a full disk
  setrlimit(RLIMIT_FSIZE, &small);
  const auto result = rig.run();
  setrlimit(RLIMIT_FSIZE, &before);
  CHECK(result.status().code() == Code::Io);
  CHECK(result.status().message().find("cannot be written") != std::string::npos);
  CHECK(rig.file("a.gguf.state") == state);
  CHECK(rig.file("a.gguf") == adapter);
  CHECK(!std::filesystem::exists(rig.folder / "a.gguf.state.part"));
  REQUIRE_OK(rig.run());  // and it goes on when there is room again
}

TEST(training_ends_when_held_out_scores_get_no_better_and_the_best_is_kept) {
  TrainingRig rig;
  rig.options.steps.optimizer.rate = 0.05f;  // too much: what is learnt by heart harms what is held out
  rig.options.steps.optimizer.total_steps = 400;
  rig.options.score_every = 5, rig.options.patience = 3;
  const auto result = rig.run();
  REQUIRE_OK(result);
  CHECK(result->early);
  CHECK(result->steps < 400);
  REQUIRE(result->best.has_value());
  CHECK_EQ(result->best->questions, size_t{3});
  // Asked for again, it is over, and says what it had reached.
  const std::string adapter = rig.file("a.gguf");
  const auto again = rig.run();
  REQUIRE_OK(again);
  CHECK(again->early);
  CHECK_EQ(again->steps, result->steps);
  REQUIRE(again->best.has_value());
  CHECK_EQ(again->best->answer_loss, result->best->answer_loss);
  CHECK(rig.file("a.gguf") == adapter);
}

TEST(a_run_that_ended_before_it_saved_anything_can_begin_again) {
  TrainingRig rig;
  REQUIRE_OK(TrainingRun::prepare(rig.options, rig.input));  // leaves a log without lines
  REQUIRE_OK(rig.run());
}

TEST(too_little_memory_ends_a_run_with_a_sentence_wherever_it_is_short) {
  TrainingRig rig;
  for (DocumentNode& node : rig.input.documents[0].nodes)
    for (int i = 0; node.is_leaf && i < 6; ++i) node.text += node.text;  // so that a step takes many chunks of memory
  rig.options.steps.corpus_steps = 1, rig.options.steps.optimizer.total_steps = 3;
  rig.options.steps.tokens_per_corpus_step = 3000, rig.options.steps.questions_per_step = 9;
  int short_of = 0, enough = 0;
  for (size_t mib = 1; mib <= 400 && enough == 0; mib += mib < 20 ? 6 : 16) {
    rig.options.memory_limit_bytes = mib << 20;
    rig.options.out = rig.folder / ("limit" + std::to_string(mib) + ".gguf");
    const auto result = rig.run();
    if (result.ok()) ++enough;
    if (!result.ok()) ++short_of;
    CHECK(result.ok() || result.status().code() == Code::NoMemory);
  }
  std::printf("  %d limits were too low\n", short_of);
  CHECK(short_of > 5 && enough == 1);
}

TEST(what_stands_there_already_is_not_written_over) {
  TrainingRig rig;
  REQUIRE(write_file(rig.folder / "a.gguf", "mine").ok());
  CHECK(rig.run().status().code() == Code::Invalid);
  CHECK(rig.file("a.gguf") == "mine");
  std::filesystem::remove(rig.folder / "a.gguf");
  REQUIRE(write_file(rig.folder / "a.gguf.csv", "mine").ok());
  CHECK(rig.run().status().code() == Code::Invalid);
  CHECK(rig.file("a.gguf.csv") == "mine");
  rig.options.out = rig.options.model;
  const std::string model = rig.file("m.gguf");
  CHECK(rig.run().status().code() == Code::Invalid);
  CHECK(rig.file("m.gguf") == model);
  rig.options.out = rig.folder.path();
  CHECK(rig.run().status().code() == Code::Invalid);
}

TEST(questions_without_words_or_answer_or_too_long_are_counted_and_left_out) {
  TrainingRig rig;
  rig.input.questions[0].answer = " ";
  rig.input.questions[1].question = "";
  for (int i = 0; i < 8; ++i) rig.input.questions[2].question += " " + rig.input.questions[2].question;
  const auto training = TrainingRun::prepare(rig.options, rig.input);
  REQUIRE_OK(training);
  CHECK_EQ((*training)->plan().left_out, size_t{3});
  CHECK_EQ((*training)->plan().questions + (*training)->plan().held_out, size_t{9});
  for (auto& question : rig.input.questions) question.answer.clear();
  rig.options.out = rig.folder / "b.gguf";
  const auto none = TrainingRun::prepare(rig.options, rig.input);
  CHECK(none.status().code() == Code::Invalid);
  CHECK(none.status().message().find("No question is left") != std::string::npos);
}

TEST(the_memory_that_is_stated_is_about_what_training_takes) {
  TrainingRig rig;
  auto training = TrainingRun::prepare(rig.options, rig.input);
  REQUIRE_OK(training);
  const double stated = static_cast<double>((*training)->plan().bytes);
  int64_t most = 0;
  auto result = (*training)->run([&](const TrainingProgress& p) { most = std::max(most, p.step.tokens); }, {});
  REQUIRE_OK(result);
  std::printf("  stated %lld tokens a step, %lld computed\n", static_cast<long long>((*training)->plan().step_tokens),
              static_cast<long long>(most));
  CHECK(most <= (*training)->plan().step_tokens && 3 * most > (*training)->plan().step_tokens);
  const auto peak = static_cast<double>(result->peak_bytes);
  std::printf("  stated %.1f MiB, taken %.1f MiB\n", stated / (1 << 20), peak / (1 << 20));
  CHECK(peak <= stated);
  CHECK(stated <= peak + 1.5 * Arena::kChunkBytes);  // which memory is taken in
}

// … and of models whose steps take most of it, with additions at every matrix and without.
TEST(the_memory_that_is_stated_holds_for_steps_that_are_large) {
  for (const int rank : {0, 4}) {
    TrainingRig rig;
    REQUIRE(write_file(
                rig.options.model,
                random_model_gguf(
                    {.layers = 2, .d_model = 128, .heads = 4, .kv_heads = 2, .d_ff = 256, .context = 2048, .seed = 3}))
                .ok());
    for (DocumentNode& node : rig.input.documents[0].nodes)
      for (int i = 0; node.is_leaf && i < 5; ++i) node.text += node.text;
    rig.options.lora.rank = rank;
    rig.options.held_out = 0, rig.options.steps.begins_short = false;
    rig.options.steps.optimizer.total_steps = 2, rig.options.steps.corpus_steps = 2;
    rig.options.steps.tokens_per_corpus_step = 6000;
    const auto training = TrainingRun::prepare(rig.options, rig.input);
    REQUIRE_OK(training);
    const auto result = (*training)->run(nullptr, {});
    REQUIRE_OK(result);
    const double stated = static_cast<double>((*training)->plan().bytes),
                 peak = static_cast<double>(result->peak_bytes);
    std::printf("  rank %d: stated %.0f MiB, taken %.0f MiB\n", rank, stated / (1 << 20), peak / (1 << 20));
    CHECK(peak > 100 * (1 << 20));
    CHECK(peak <= stated && stated <= 1.5 * peak);
  }
}

// … and of steps whose many questions take it.
TEST(the_memory_that_is_stated_holds_for_steps_of_many_questions) {
  TrainingRig rig;
  REQUIRE(
      write_file(rig.options.model,
                 random_model_gguf(
                     {.layers = 2, .d_model = 128, .heads = 4, .kv_heads = 2, .d_ff = 256, .context = 2048, .seed = 3}))
          .ok());
  const auto some = rig.input.questions;
  for (int i = 0; i < 4; ++i) rig.input.questions.insert(rig.input.questions.end(), some.begin(), some.end());
  rig.options.held_out = 0;
  rig.options.steps.optimizer.total_steps = 2, rig.options.steps.corpus_steps = 0;
  rig.options.steps.questions_per_step = 60, rig.options.steps.most_nodes = 100, rig.options.children = 1;
  const auto training = TrainingRun::prepare(rig.options, rig.input);
  REQUIRE_OK(training);
  const auto result = (*training)->run(nullptr, {});
  REQUIRE_OK(result);
  const double stated = static_cast<double>((*training)->plan().bytes), peak = static_cast<double>(result->peak_bytes);
  std::printf("  stated %.0f MiB, taken %.0f MiB\n", stated / (1 << 20), peak / (1 << 20));
  CHECK(peak > 100 * (1 << 20));
  CHECK(peak <= stated && stated <= 1.5 * peak);
}

TEST(training_that_has_no_room_is_refused_before_it_begins) {
  TrainingRig rig;
  rig.options.memory_limit_bytes = size_t{18} << 20;
  const auto refused = TrainingRun::prepare(rig.options, rig.input);
  CHECK(refused.status().code() == Code::NoMemory);
  CHECK(refused.status().message().find("may have 18 MiB") != std::string::npos);
  CHECK(!std::filesystem::exists(rig.folder / "a.gguf.csv"));
}
