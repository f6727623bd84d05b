// Training HMT's recurrent memory: that it can be learnt, what a step reads, and that a run is taken up again to the
// same bits.
#include "engine/train/recurrent_trainer.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>

#include "engine/base/files.h"
#include "engine/train/training_run.h"
#include "tests/support/check.h"
#include "tests/support/memory_rig.h"
#include "tests/support/recurrent.h"
#include "tests/support/temporary_folder.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

// Texts in one-token words: pairs “key value”, a segment each; a question is a key, its answer the value.
struct Toy {
  std::vector<train::TrainingDocument> documents;
  std::vector<train::TrainingQuestion> questions;

  Toy(int n_documents, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (size_t d = 0; d < static_cast<size_t>(n_documents); ++d) {
      TextTree& tree = documents.emplace_back().tree;
      tree.parents = {-1}, tree.tokens = {{}};
      std::set<TokenId> keys;
      while (keys.size() < 4) keys.insert(10 + static_cast<TokenId>(random() % 24));
      for (const TokenId key : keys) {
        const TokenId value = 60 + static_cast<TokenId>(random() % 24);
        const auto leaf = static_cast<int>(tree.size());
        tree.parents.push_back(0), tree.tokens.push_back({key, value});
        questions.push_back({d, {key}, {5, key, 6}, {value}, {leaf}});
      }
    }
  }
};

struct Trained {
  std::string gguf;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  train::Parameters parameters{*backend};
  std::unique_ptr<train::Decoder> decoder;
  std::unique_ptr<train::MemoryModel> memory;
  std::unique_ptr<train::RecurrentTrainer> trainer;

  Trained(int sensory, const train::MemoryTrainingSettings& steps) {
    RandomModel shape;
    shape.kv_heads = 4;
    gguf = random_model_gguf(shape);
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
    const train::DecoderSettings all{.all_weights = true, .keeps_layers = true, .lora = {}};
    decoder = std::move(*train::Decoder::create(*file, *backend, parameters, all));
    auto settings = recurrent(2, sensory);
    settings.d_routing = 32, settings.query_fraction = 1;
    memory = std::move(*train::MemoryModel::create(*decoder, parameters, settings));
    trainer = std::make_unique<train::RecurrentTrainer>(*decoder, *memory, parameters, *backend, steps);
  }
};

}  // namespace

TEST(a_step_reads_a_segment_and_a_question_behind_the_text_in_front_of_it) {
  train::MemoryTrainingSettings steps;
  steps.questions_per_step = 4;
  Trained trained(3, steps);
  const Toy toy(1, 1);
  const auto report = trained.trainer->step(toy.documents, toy.questions);
  REQUIRE_OK(report);
  CHECK(report->tokens <= trained.trainer->most_tokens(toy.documents, toy.questions).all);
  // Questions, summaries of all segments but the first, segments, prompts.
  CHECK_EQ(report->tokens, 4 * 3 + 3 * 3 + (4 * 4 + 0 + 2 + 3 + 3) + 4 * (1 + 3 + 3));
}

TEST(a_step_reads_no_more_segments_than_it_may) {
  train::MemoryTrainingSettings steps;
  steps.most_segments = 2, steps.questions_per_step = 4;
  Trained trained(0, steps);
  Toy toy(1, 1);
  for (auto& question : toy.questions) question.gold = {1, 2, 3, 4};
  const auto report = trained.trainer->step(toy.documents, toy.questions);
  REQUIRE_OK(report);
  CHECK_EQ(report->tokens, 1 * 3 + 1 * 3 + 2 * 4 + 1 * 4);  // a question, and two of its four segments
  CHECK(report->route_loss == 0);                           // there is nothing else to recall
}

TEST(a_memory_is_learnt_that_recalls_the_segment_and_tells_what_stands_in_it) {
  train::MemoryTrainingSettings steps;
  steps.optimizer.rate = 3e-3f, steps.optimizer.warm_up_steps = 30, steps.optimizer.total_steps = 500;
  steps.optimizer.decay = 0;
  Trained trained(0, steps);
  train::RecurrentTrainer& trainer = *trained.trainer;
  for (int step = 1; step <= 500; ++step) {
    const Toy toy(1, static_cast<uint64_t>(step));
    const auto report = trainer.step(toy.documents, toy.questions);
    REQUIRE_OK(report);
    CHECK(std::abs(report->loss - report->answer_loss - report->route_loss) < 1e-6 * (1 + report->loss));
  }
  const Toy unseen(30, 1'000'000);
  using Routing = train::Trainer::Routing;
  const auto learned = trainer.score(unseen.documents, unseen.questions);
  const auto gold = trainer.score(unseen.documents, unseen.questions, Routing::Gold);
  const auto random = trainer.score(unseen.documents, unseen.questions, Routing::Random);
  REQUIRE(learned.ok() && gold.ok() && random.ok());
  std::printf("  right: %.2f learned, %.2f gold, %.2f random; of the gold segment %.2f\n", learned->right, gold->right,
              random->right, learned->gold_leaves_survive);
  CHECK_EQ(learned->questions, size_t{120});
  CHECK_EQ(learned->memory_tokens, 1.0);
  CHECK(gold->right > 0.8);
  CHECK(learned->right > 0.6 && learned->gold_leaves_survive > 0.6);  // by chance 1/24 and 1/4
  CHECK(random->right < 0.5);
}

TEST(a_training_run_of_it_goes_on_to_the_bits_of_one_that_was_not_stopped) {
  const auto run = [](const TemporaryFolder& folder, int64_t until) -> Status {
    train::TrainingInput input;
    DocumentInput d{"id", 1, "Pumps", {{1, 0, false, 0, ""}}};
    for (int64_t i = 0; i < 12; ++i) {
      d.nodes.push_back({2 + i, 1, true, 9, "Pump " + std::to_string(i) + " gives " + std::to_string(7 * i) + " l.\n"});
      input.questions.push_back({0, "What gives pump " + std::to_string(i) + "?", std::to_string(7 * i), {2 + i}});
    }
    input.documents.push_back(d);
    train::TrainingOptions options;
    options.model = folder / "m.gguf", options.out = folder / "a.gguf";
    options.lora.rank = 2;
    options.memory = recurrent(24, 4);
    options.steps.optimizer.total_steps = 12, options.steps.corpus_steps = 7;
    options.steps.tokens_per_corpus_step = 100, options.steps.most_segments = 3, options.steps.questions_per_step = 2;
    options.held_out = 0.25, options.score_every = 4;
    LL_ASSIGN_OR_RETURN(const auto training, train::TrainingRun::prepare(options, input));
    std::stop_source stop;
    int64_t most = 0, n_steps = 0;  // most: that a step computed
    LL_ASSIGN_OR_RETURN(const auto result, training->run(
                                               [&](const train::TrainingProgress& p) {
                                                 most = std::max(most, p.step.tokens), ++n_steps;
                                                 if (p.step.step == until) stop.request_stop();
                                               },
                                               stop.get_token()));
    CHECK_EQ(result.stopped, until > 0);
    CHECK(result.peak_bytes <= training->plan().bytes);
    CHECK(most <= training->plan().step_tokens);
    CHECK(n_steps < 12 || 2 * most > training->plan().step_tokens);
    return {};
  };
  TemporaryFolder whole, stopped;
  for (const auto* folder : {&whole, &stopped})
    REQUIRE_OK(write_file(*folder / "m.gguf", random_model_gguf(RandomModel{})));
  REQUIRE_OK(run(whole, 0));
  for (const int64_t until : {5, 9, 0}) REQUIRE_OK(run(stopped, until));  // among texts, and among questions
  for (const char* name : {"a.gguf", "a.gguf.state", "a.gguf.csv"})
    CHECK(bytes_of(whole / name) == bytes_of(stopped / name));
  const auto model = ModelFile::open(whole / "m.gguf");
  REQUIRE_OK(model);
  const auto adapter = load_adapter(whole / "a.gguf", **model, fingerprint_of(**model));
  REQUIRE_OK(adapter);
  CHECK(adapter->memory.method == MemoryMethod::Recurrent);
  CHECK(adapter->memory.segment_tokens == 24 && adapter->memory.sensory_tokens == 4 && adapter->memory.recalled == 300);
}
