// A training that is stopped in the middle of a step or a score: nothing of it is left.
#include <cmath>
#include <thread>

#include "engine/train/memory_trainer.h"
#include "engine/train/recurrent_trainer.h"
#include "kernels/cpu_backend.h"
#include "tests/support/training_rig.h"

using namespace longleaf;
using namespace longleaf::train;
using namespace longleaf::test;

namespace {

// A backend that requests a stop at one of the products that it is asked for.
int products_left = -1;  // -1: none
int products_made = 0;
std::stop_source source;
Status (*product)(void*, const kernels::GemmArgs&) = nullptr;

Status counted_product(void* self, const kernels::GemmArgs& args) {
  if (products_left >= 0 && products_left-- == 0) source.request_stop();
  ++products_made;
  return product(self, args);
}

struct Stopping {
  std::string gguf = random_model_gguf({.context = 256});
  kernels::BackendPtr backend =
      kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 0});
  kernels::TrainingOps ops = *backend->training;
  Parameters parameters;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<MemoryModel> memory;
  std::unique_ptr<Trainer> trainer;
  std::vector<TrainingDocument> documents;
  std::vector<TrainingQuestion> questions;

  explicit Stopping(MemoryMethod method) : parameters(*backend) {
    product = ops.gemm, ops.gemm = counted_product, backend->training = &ops;
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
    decoder = std::move(*Decoder::create(
        *file, *backend, parameters, {.all_weights = false, .keeps_layers = false, .lora = {.rank = 2, .alpha = 4}}));
    MemorySettings shape;
    shape.method = method, shape.segment_tokens = 6, shape.sensory_tokens = 2;
    memory = std::move(*MemoryModel::create(*decoder, parameters, shape));
    MemoryTrainingSettings settings;
    settings.corpus_steps = 1, settings.optimizer.total_steps = 9;
    settings.questions_per_step = 2, settings.tokens_per_corpus_step = 16;
    if (method == MemoryMethod::Tree)
      trainer = std::make_unique<MemoryTrainer>(*decoder, *memory, parameters, *backend, settings);
    else
      trainer = std::make_unique<RecurrentTrainer>(*decoder, *memory, parameters, *backend, settings);
    TextTree& tree = documents.emplace_back().tree;
    tree.parents = {-1, 0, 0, 1, 1, 2}, tree.tokens = {{}, {}, {9}, {10, 11, 12}, {13, 14}, {15, 16, 17, 18}};
    questions = {{0, {10}, {5, 10, 6}, {12}, {3}}, {0, {15}, {5, 15, 6}, {17, 18}, {5}}};
  }
  std::string state() const { return *parameters.state(); }
  double gradients() const {
    double sum = 0;
    for (const Parameter& p : parameters.all())
      sum += *backend->training->squares(backend->self, p.gradient.data(), p.size());
    return sum;
  }
};

}  // namespace

TEST(a_step_that_is_stopped_anywhere_leaves_nothing_and_is_made_again) {
  for (const MemoryMethod method : {MemoryMethod::Tree, MemoryMethod::Recurrent}) {
    Stopping whole(method), stopped(method);
    int cancelled = 0;
    for (int step = 1; step <= 3; ++step) {  // on text, then on questions
      const auto report = whole.trainer->step(whole.documents, whole.questions);
      REQUIRE_OK(report);
      const std::string before = stopped.state();
      for (int at = 0;; at += 3) {
        source = std::stop_source(), products_left = at;
        const auto part = stopped.trainer->step(stopped.documents, stopped.questions, source.get_token());
        products_left = -1;
        CHECK_EQ(stopped.gradients(), 0.0);
        if (part.ok()) {
          CHECK_EQ(part->loss, report->loss);
          break;
        }
        ++cancelled;
        CHECK(part.status().code() == Code::Cancelled);
        CHECK(stopped.state() == before);
      }
      CHECK(stopped.state() == whole.state());
    }
    std::printf("  %d stops\n", cancelled);
    CHECK(cancelled > 60);
  }
}

TEST(a_score_that_is_stopped_says_so_and_the_next_is_whole) {
  for (const MemoryMethod method : {MemoryMethod::Tree, MemoryMethod::Recurrent}) {
    Stopping rig(method);
    const auto whole = rig.trainer->score(rig.documents, rig.questions);
    REQUIRE_OK(whole);
    int cancelled = 0;
    for (int at = 0;; at += 3, ++cancelled) {
      source = std::stop_source(), products_left = at;
      const auto part = rig.trainer->score(rig.documents, rig.questions, Trainer::Routing::Learned, source.get_token());
      products_left = -1;
      if (part.ok()) {
        CHECK_EQ(part->answer_loss, whole->answer_loss);
        break;
      }
      CHECK(part.status().code() == Code::Cancelled);
    }
    CHECK(cancelled > 20);
  }
}

// Loss per token and right answers of one training, 200 steps apart: sure of itself, it pays more where routing misses.
TEST(a_memory_that_answers_more_is_worth_more_even_where_its_loss_is_higher) {
  MemoryScores before, after, none;
  before.right = 0.30, before.answer_loss = 0.500;
  after.right = 0.48, after.answer_loss = 0.569;
  none.answer_loss = 0.7;
  CHECK(after.worth() > before.worth() && before.worth() > none.worth());
}

TEST(a_loss_over_many_tokens_is_stopped_between_its_parts) {
  Stopping rig(MemoryMethod::Tree);
  const std::vector<float> rows(4000 * 8, 0.1f), table(16 * 8, 0.1f);
  std::vector<int> made;
  for (const int stop_at : {-1, 0}) {
    source = std::stop_source(), products_left = stop_at, products_made = 0;
    Tape tape(*rig.backend);
    tape.heed(source.get_token());
    const Var x = tape.constant(4000, 8, rows, true), w = tape.constant(16, 8, table);
    tape.cross_entropy(x, w, std::vector<int32_t>(4000), std::vector<float>(4000, 1.0f));
    made.push_back(products_made);
  }
  products_left = -1;
  CHECK(made[0] > 10);
  CHECK_EQ(made[1], 2);  // of the part that it was in
}

TEST(what_is_rehearsed_is_not_learnt) {
  Stopping rig(MemoryMethod::Tree);
  const std::string before = rig.state();
  for (const int64_t step : {1, 5}) CHECK(rig.trainer->rehearse(rig.documents, rig.questions, step).ok());
  CHECK(rig.state() == before);
  CHECK_EQ(rig.gradients(), 0.0);
}

TEST(a_run_that_is_stopped_at_any_moment_goes_on_to_the_bits_of_one_that_was_not) {
  TrainingRig whole, stopped;
  for (TrainingRig* rig : {&whole, &stopped}) rig->options.score_every = 2;  // much of the time is spent on scores
  REQUIRE_OK(whole.run());
  int stops = 0;
  std::chrono::microseconds patience(1000);
  for (bool done = false; !done; ++stops) {
    const auto training = TrainingRun::prepare(stopped.options, stopped.input);
    REQUIRE_OK(training);
    std::stop_source stop;
    std::jthread later([&] {
      std::this_thread::sleep_for(patience);
      stop.request_stop();
    });
    patience = patience * 21 / 20;  // so that every run gets further in the end
    const auto result = (*training)->run(nullptr, stop.get_token());
    REQUIRE_OK(result);
    done = !result->stopped;
  }
  std::printf("  %d stops\n", stops - 1);
  CHECK(stops > 5);
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"}) CHECK(whole.file(name) == stopped.file(name));
}

TEST(the_time_that_is_told_before_changes_nothing) {
  TrainingRig whole, told;
  REQUIRE_OK(whole.run());
  const auto training = TrainingRun::prepare(told.options, told.input);
  REQUIRE_OK(training);
  const auto seconds = (*training)->estimate();
  REQUIRE_OK(seconds);
  CHECK(*seconds > 0);
  REQUIRE_OK((*training)->run(nullptr, {}));
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"}) CHECK(whole.file(name) == told.file(name));
  const auto none_left = (*training)->estimate();
  CHECK(none_left.ok() && *none_left == 0);
  std::stop_source stop;
  stop.request_stop();
  told.options.out = told.folder / "b.gguf";
  const auto again = TrainingRun::prepare(told.options, told.input);
  REQUIRE_OK(again);
  CHECK((*again)->estimate(stop.get_token()).status().code() == Code::Cancelled);
}

TEST(a_training_is_checked_before_its_questions_are_written) {
  TrainingRig rig;
  TrainingInput texts;
  texts.documents = rig.input.documents;
  rig.options.steps.corpus_steps = 0;  // all of them on questions, which are not there yet
  CHECK(TrainingRun::check(rig.options, texts).ok());
  CHECK(!std::filesystem::exists(rig.folder / "a.gguf.csv"));
  REQUIRE_OK(rig.run(3));
  CHECK(TrainingRun::check(rig.options, texts).ok());  // it may be gone on with
  TrainingOptions small = rig.options, taken = rig.options;
  small.memory_limit_bytes = size_t{10} << 20;
  CHECK(TrainingRun::check(small, texts).code() == Code::NoMemory);
  taken.out = rig.folder / "mine.gguf";
  REQUIRE(write_file(taken.out, "mine").ok());
  CHECK(TrainingRun::check(taken, texts).code() == Code::Invalid);
  texts.documents.clear();
  CHECK(TrainingRun::check(rig.options, texts).code() == Code::Invalid);
}
