// Training a memory: that it can be learnt, what a step tells and reads, and what scores leave behind.
#include "engine/train/memory_trainer.h"

#include <random>
#include <set>

#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"

using namespace longleaf;
using namespace longleaf::train;

namespace {

// A manual in one-token words: sections of leaves, each "key value"; a question is a key, its answer the value.
struct Toy {
  std::vector<TrainingDocument> documents;
  std::vector<TrainingQuestion> questions;

  Toy(int n_documents, uint64_t seed) {
    std::mt19937_64 random(seed);
    for (size_t d = 0; d < static_cast<size_t>(n_documents); ++d) {
      TextTree& tree = documents.emplace_back().tree;
      tree.parents = {-1}, tree.tokens = {{}};
      std::set<TokenId> keys;
      while (keys.size() < 6) keys.insert(10 + static_cast<TokenId>(random() % 24));
      std::vector<TokenId> order(keys.begin(), keys.end());
      for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random() % i]);
      for (size_t section = 0; section < 2; ++section) {
        const auto parent = static_cast<int>(tree.size());
        tree.parents.push_back(0), tree.tokens.emplace_back();
        for (size_t leaf = 0; leaf < 3; ++leaf) add_leaf(tree, d, parent, order[3 * section + leaf], random);
      }
    }
  }
  void add_leaf(TextTree& tree, size_t d, int parent, TokenId key, std::mt19937_64& random) {
    const auto leaf = static_cast<int>(tree.size());
    const TokenId value = 60 + static_cast<TokenId>(random() % 24);
    tree.parents.push_back(parent), tree.tokens.push_back({key, value});
    questions.push_back({d, {key}, {5, key, 6}, {value}, {leaf}});
  }
};

struct Rig {
  std::string gguf;
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  Parameters parameters;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<MemoryModel> memory;

  Rig() : parameters(*backend) {
    test::RandomModel shape;
    shape.kv_heads = 4;
    gguf = test::random_model_gguf(shape);
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
    decoder = std::move(
        *Decoder::create(*file, *backend, parameters, {.all_weights = true, .keeps_layers = true, .lora = {}}));
    memory = std::move(*MemoryModel::create(*decoder, parameters, {.scales = true}));
  }
};

}  // namespace

TEST(a_memory_is_learnt_that_finds_the_leaf_and_tells_what_stands_in_it) {
  Rig rig;
  MemoryTrainingSettings settings;
  settings.optimizer.rate = 3e-3f, settings.optimizer.warm_up_steps = 30, settings.optimizer.total_steps = 400;
  settings.optimizer.decay = 0;
  settings.descent.children = 1, settings.drop_gold = 0;
  MemoryTrainer trainer(*rig.decoder, *rig.memory, rig.parameters, *rig.backend, settings);
  for (int step = 1; step <= 400; ++step) {
    const Toy toy(1, static_cast<uint64_t>(step));
    const auto report = trainer.step(toy.documents, toy.questions);
    REQUIRE_OK(report);
    const double parts = report->answer_loss + report->route_loss + report->text_loss;
    CHECK(std::abs(report->loss - parts) < 1e-6 * (1 + report->loss));
    CHECK(report->text_loss > 0);
    // Leaves, prompts of three memories or more and three words, and leaves told behind a memory each.
    CHECK(report->tokens >= 6 * 2 + 6 * (3 + 3) + 6 * 2);
  }
  const Toy unseen(30, 1'000'000);
  const auto learned = trainer.score(unseen.documents, unseen.questions);
  const auto gold = trainer.score(unseen.documents, unseen.questions, MemoryTrainer::Routing::Gold);
  const auto random = trainer.score(unseen.documents, unseen.questions, MemoryTrainer::Routing::Random);
  REQUIRE(learned.ok() && gold.ok() && random.ok());
  std::printf("  right: %.2f learned, %.2f gold, %.2f random; leaves reached %.2f, %.2f, %.2f; sections %.2f\n",
              learned->right, gold->right, random->right, learned->gold_leaves_survive, gold->gold_leaves_survive,
              random->gold_leaves_survive, learned->gold_survives[0]);
  CHECK_EQ(learned->questions, size_t{180});
  CHECK_EQ(learned->gold_survives.size(), size_t{2});
  CHECK_EQ(learned->memory_tokens, 3.0);
  CHECK_EQ(gold->gold_leaves_survive, 1.0);
  CHECK(gold->right > 0.9);
  CHECK(learned->gold_leaves_survive > 0.6);  // by chance it is 1/6
  CHECK(learned->right > 0.5);
  CHECK(random->gold_leaves_survive < 0.35 && random->right < 0.45);
}

// What was learnt of telling texts is not undone by learning to answer.
TEST(texts_are_told_beside_questions_so_that_they_are_not_forgotten) {
  const auto told_after = [](float text_weight) {
    Rig rig;
    MemoryTrainingSettings settings;
    settings.optimizer.rate = 3e-3f, settings.optimizer.warm_up_steps = 10, settings.optimizer.total_steps = 400;
    settings.optimizer.decay = 0, settings.text_weight = text_weight, settings.corpus_steps = 250;
    MemoryTrainer trainer(*rig.decoder, *rig.memory, rig.parameters, *rig.backend, settings);
    double before = 0, after = 0;
    for (int step = 1; step <= 400; ++step) {
      const Toy toy(1, static_cast<uint64_t>(step));
      const auto report = trainer.step(toy.documents, toy.questions);
      if (report.ok() && step > 230 && step <= 250) before += report->answer_loss / 20;
    }
    settings.optimizer.total_steps = settings.corpus_steps = 420, settings.optimizer.rate = 0;
    MemoryTrainer teller(*rig.decoder, *rig.memory, rig.parameters, *rig.backend, settings);
    for (int step = 401; step <= 420; ++step) {
      const auto report = teller.step(Toy(1, static_cast<uint64_t>(step)).documents, {});
      if (report.ok()) after += report->answer_loss / 20;
    }
    std::printf("  weight %.0f: %.2f per token before questions, %.2f after\n", double{text_weight}, before, after);
    return std::pair(before, after);
  };
  const auto with = told_after(1), without = told_after(0);
  CHECK(std::abs(with.first - without.first) < 1e-12);
  CHECK(with.second < with.first + 0.1);
  CHECK(without.second > with.second + 0.5);
}

// Sentences of three tokens; a step on text reads them for their memory and again behind it.
TEST(texts_are_told_a_sentence_at_a_time_at_first_and_whole_at_the_end) {
  const auto tokens_of_steps = [](bool begins_short) {
    Rig rig;
    MemoryTrainingSettings settings;
    settings.optimizer.total_steps = settings.corpus_steps = 10, settings.begins_short = begins_short;
    MemoryTrainer trainer(*rig.decoder, *rig.memory, rig.parameters, *rig.backend, settings);
    TrainingDocument document{{}, {{-1, 0}, {{}, {}}}, {{}, {0, 3, 6, 9}}};
    for (int i = 0; i < 12; ++i) document.tree.tokens[1].push_back(10 + i);
    std::vector<int64_t> tokens;
    for (int step = 0; step < 10; ++step) {
      const auto report = trainer.step({&document, 1}, {});
      tokens.push_back(report.ok() ? report->tokens : -1);
    }
    return tokens;
  };
  const auto whole = tokens_of_steps(false), grown = tokens_of_steps(true);
  CHECK(whole == std::vector<int64_t>(10, 12 + 12 + 2));
  CHECK_EQ(grown[0], int64_t{3 + 3 + 2});
  for (size_t step = 0; step < 10; ++step) {
    const auto sentences = (grown[step] - 2) / 6;
    CHECK_EQ(grown[step], 6 * sentences + 2);
    CHECK(sentences >= 1 && sentences <= std::min<int64_t>(4, 1 + static_cast<int64_t>(step + 1) / 2));
  }
  for (size_t step = 7; step < 10; ++step) CHECK_EQ(grown[step], whole[step]);
  CHECK_EQ(*std::max_element(grown.begin(), grown.begin() + 3), int64_t{6 + 6 + 2});
}

TEST(a_part_of_a_tree_has_what_is_wanted_with_its_ancestors_and_keeps_the_order) {
  TextTree tree;
  tree.parents = {-1, 0, 1, 1, 0, 4, 4, 4};
  for (int i = 0; i < 8; ++i) tree.tokens.push_back({i});
  std::vector<int> numbers;
  const std::vector<int> wanted = {6};
  TextTree part = part_of(tree, wanted, 0, 1, numbers);
  CHECK(part.parents == (std::vector<int>{-1, 0, 1}));
  CHECK(part.tokens == (std::vector<std::vector<TokenId>>{{0}, {4}, {6}}));
  CHECK(numbers == (std::vector<int>{0, -1, -1, -1, 1, -1, 2, -1}));
  for (uint64_t seed = 0; seed < 20; ++seed) {
    part = part_of(tree, wanted, 5, seed, numbers);
    CHECK(part.size() == 5 || part.size() == 6);  // a leaf may bring its section
    CHECK(numbers[6] > 0);
    for (size_t i = 1; i < part.size(); ++i) CHECK(part.parents[i] >= 0 && part.parents[i] < static_cast<int>(i));
  }
  part = part_of(tree, wanted, 100, 1, numbers);
  CHECK(part.parents == tree.parents && part.tokens == tree.tokens);
}

TEST(scores_leave_no_gradient_and_take_no_memory_that_grows_with_questions) {
  Rig rig;
  MemoryTrainer trainer(*rig.decoder, *rig.memory, rig.parameters, *rig.backend, {});
  const Toy toy(1, 1);
  std::vector<TrainingQuestion> many;
  for (int i = 0; i < 400; ++i) many.insert(many.end(), toy.questions.begin(), toy.questions.end());
  REQUIRE_OK(trainer.score(toy.documents, many));
  CHECK(trainer.tape_bytes() <= size_t{32} << 20);
  for (const Parameter& p : rig.parameters.all()) {
    const auto sum = rig.backend->training->squares(rig.backend->self, p.gradient.data(), p.size());
    CHECK(sum.ok() && *sum == 0);
  }
}
