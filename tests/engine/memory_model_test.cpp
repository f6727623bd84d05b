// The learned memory: the invariants that H²MT's formulas imply, and that it can be learnt.
#include "engine/train/memory_model.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "engine/routing/descent.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"

using namespace longleaf;
using namespace longleaf::train;

namespace {

constexpr int kWidth = 32;
constexpr Aggregation kAll[] = {Aggregation::Mean, Aggregation::SelfWeights, Aggregation::CrossAttention,
                                Aggregation::Graph, Aggregation::ParentToken};

std::vector<TokenId> text(int salt, int n) {
  std::vector<TokenId> tokens;
  for (int i = 0; i < n; ++i) tokens.push_back(3 + (37 * salt + 11 * i + i * i) % 250);
  return tokens;
}

struct Rig {
  std::string gguf = test::random_model_gguf({});
  kernels::BackendPtr backend = kernels::make_cpu_backend();
  Parameters parameters;
  Tape tape;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<MemoryModel> memory;

  explicit Rig(const MemorySettings& settings, int rank = 0) : parameters(*backend), tape(*backend) {
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(gguf.data()), gguf.size()}, "random");
    DecoderSettings decoding;
    decoding.lora.rank = rank, decoding.lora.alpha = 2;
    decoder = std::move(*Decoder::create(*file, *backend, parameters, decoding));
    memory = std::move(*MemoryModel::create(*decoder, parameters, settings));
  }
  // Other numbers than those that training begins at, where matrices are identities and vectors zero.
  void shake() {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 0.15f);
    for (const Parameter& p : parameters.all()) {
      std::vector<float> values(static_cast<size_t>(p.size()));
      for (float& x : values) x = normal(random);
      CHECK(parameters.set_values(*parameters.find(p.name), values).ok());
    }
  }
  std::vector<float> read(const std::vector<std::vector<TokenId>>& texts) {
    std::vector<MemoryModel::Text> all;
    for (const auto& one : texts) all.push_back({one, -1});
    return tape.read(memory->read(tape, all));
  }
  std::vector<float> aggregate(int n, const std::vector<float>& children, const std::vector<float>& parent) {
    return tape.read(
        memory->weights().aggregate(tape, tape.constant(n, kWidth, children), tape.constant(1, kWidth, parent)));
  }
  Var query(const std::vector<TokenId>& question) {
    const std::span<const TokenId> one = question;
    return memory->queries(tape, {&one, 1});
  }
  std::vector<float> build(const TextTree& tree) { return tape.read(memory->build(tape, tree)); }
};

std::vector<float> numbers(size_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(n);
  for (float& x : values) x = normal(random);
  return values;
}

float difference(std::span<const float> a, std::span<const float> b) {
  float top = a.size() == b.size() ? 0.0f : INFINITY;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) top = std::max(top, std::abs(a[i] - b[i]));
  return top;
}

std::span<const float> row(const std::vector<float>& rows, int i) {
  return std::span(rows).subspan(static_cast<size_t>(i) * kWidth, kWidth);
}

// Root, two chapters (one with a text of its own), and leaves; one leaf is deeper.
TextTree tree() {
  TextTree t;
  t.parents = {-1, 0, 1, 1, 0, 4, 4, 6, 6};
  t.tokens = {{}, text(1, 5), text(2, 9), text(3, 4), {}, text(5, 12), {}, text(7, 3), text(8, 6)};
  return t;
}

}  // namespace

TEST(a_memory_changes_with_every_token_of_its_text_and_with_nothing_else) {
  Rig rig({});
  const auto alone = rig.read({text(1, 6)});
  CHECK(difference(row(rig.read({text(1, 6), text(2, 20)}), 0), alone) == 0);
  CHECK(difference(row(rig.read({text(2, 20), text(1, 6)}), 1), alone) < 1e-5f);
  for (size_t i = 0; i < 6; ++i) {
    auto other = text(1, 6);
    other[i] = other[i] == 100 ? 101 : 100;
    CHECK(difference(rig.read({other}), alone) > 1e-4f);
  }
}

TEST(nodes_read_together_have_the_memories_of_nodes_read_one_by_one) {
  for (const Aggregation kind : kAll) {
    Rig rig({.aggregation = kind});
    rig.shake();
    const TextTree t = tree();
    const auto together = rig.build(t);
    // The same, by hand: leaves, then what stands above them.
    std::vector<std::vector<float>> one(t.size());
    for (size_t i = t.size(); i-- > 0;) {
      const auto children = children_of(t.parents)[i];
      if (children.empty()) {
        one[i] = rig.read({t.tokens[i]});
        continue;
      }
      std::vector<float> below, mean(kWidth, 0.0f);
      for (const int child : children) {
        const auto& m = one[static_cast<size_t>(child)];
        below.insert(below.end(), m.begin(), m.end());
        for (size_t c = 0; c < kWidth; ++c) mean[c] += m[c] / static_cast<float>(children.size());
      }
      const auto parent = t.tokens[i].empty() ? mean : rig.read({t.tokens[i]});
      one[i] = rig.aggregate(static_cast<int>(children.size()), below, parent);
      if (t.tokens[i].empty()) continue;
      const Var inner = rig.tape.constant(1, kWidth, one[i]);
      const MemoryModel::Text behind{t.tokens[i], 0};
      one[i] = rig.tape.read(rig.memory->read(rig.tape, {&behind, 1}, inner));
    }
    for (size_t i = 0; i < t.size(); ++i) CHECK(difference(row(together, static_cast<int>(i)), one[i]) < 1e-5f);
  }
}

TEST(a_node_without_text_is_what_its_children_were_made_to) {
  Rig rig({.aggregation = Aggregation::Mean});
  const auto memories = rig.build(tree());
  for (size_t c = 0; c < kWidth; ++c) {
    CHECK(std::abs(row(memories, 6)[c] - (row(memories, 7)[c] + row(memories, 8)[c]) / 2) < 1e-6f);
    CHECK(std::abs(row(memories, 4)[c] - (row(memories, 5)[c] + row(memories, 6)[c]) / 2) < 1e-6f);
  }
}

TEST(graph_attention_begins_as_the_mean) {
  Rig graph({.aggregation = Aggregation::Graph}), mean({.aggregation = Aggregation::Mean});
  const auto children = numbers(5 * kWidth, 1), parent = numbers(kWidth, 2);
  CHECK(difference(graph.aggregate(5, children, parent), mean.aggregate(5, children, parent)) < 1e-6f);
}

TEST(shares_of_children_sum_to_one_and_a_single_child_is_passed_on) {
  for (const Aggregation kind : {Aggregation::Mean, Aggregation::SelfWeights, Aggregation::CrossAttention}) {
    Rig rig({.aggregation = kind});
    rig.shake();
    const auto parent = numbers(kWidth, 2), child = numbers(kWidth, 3);
    CHECK(difference(rig.aggregate(1, child, parent), child) < 1e-6f);
    // Children that are all the same, seven times: any shares that sum to one give the child.
    std::vector<float> same;
    for (int i = 0; i < 7; ++i) same.insert(same.end(), child.begin(), child.end());
    CHECK(difference(rig.aggregate(7, same, parent), child) < 1e-5f);
  }
}

TEST(the_order_of_children_does_not_matter_but_which_they_are_does) {
  for (const Aggregation kind : kAll) {
    Rig rig({.aggregation = kind});
    rig.shake();
    const auto children = numbers(4 * kWidth, 1), parent = numbers(kWidth, 2);
    std::vector<float> turned, other = children;
    for (const int i : {2, 0, 3, 1}) turned.insert(turned.end(), row(children, i).begin(), row(children, i).end());
    other[0] += 1;
    const auto made = rig.aggregate(4, children, parent);
    CHECK(difference(rig.aggregate(4, turned, parent), made) < 1e-5f);
    CHECK(difference(rig.aggregate(4, other, parent), made) > 1e-3f);
    const bool asks_parent = kind == Aggregation::CrossAttention || kind == Aggregation::Graph;
    CHECK((difference(rig.aggregate(4, children, numbers(kWidth, 9)), made) > 1e-4f) == asks_parent);
  }
}

TEST(an_edited_leaf_changes_the_memories_above_it_and_no_others) {
  for (const Aggregation kind : kAll) {
    Rig rig({.aggregation = kind});
    const auto before = rig.build(tree());
    TextTree edited = tree();
    edited.tokens[7][1] = 99;
    const auto after = rig.build(edited);
    for (int i = 0; i < 9; ++i) {
      const bool above = i == 7 || i == 6 || i == 4 || i == 0;
      CHECK((difference(row(before, i), row(after, i)) > 1e-6f) == above);
    }
  }
}

TEST(the_loss_of_a_set_is_that_of_its_only_member_and_goes_to_nothing_with_the_margin) {
  Rig rig({});
  const auto loss = [&](const std::vector<float>& scores, const std::vector<int>& gold, std::vector<float>* back) {
    const Var s = rig.tape.constant(1, static_cast<int>(scores.size()), scores, true);
    const double value = MemoryModel::route_loss(rig.tape, s, gold, 0.5f, 2);
    CHECK(rig.tape.backward().ok());
    if (back != nullptr) *back = rig.tape.read_gradient(s);
    rig.tape.clear();
    return value;
  };
  const std::vector<float> scores = {0.5f, -1, 2, 0.25f};
  double total = 0;
  for (const float s : scores) total += std::exp(double{s} / 0.5);
  CHECK(std::abs(loss(scores, {1}, nullptr) + 2 * std::log(std::exp(-2.0) / total)) < 1e-6);
  CHECK(loss(scores, {0, 1, 2, 3}, nullptr) < 1e-9);
  CHECK(loss({0, 60, 0, 0}, {1}, nullptr) < 1e-9);
  CHECK(loss({0, 60, 60, -900}, {1, 2}, nullptr) < 1e-9);
  CHECK(std::abs(loss({0, 2000}, {0}, nullptr) - 2 * 4000) < 1e-3);
  std::vector<float> back;
  for (const auto& gold : {std::vector<int>{1}, std::vector<int>{0, 3}}) {
    loss(scores, gold, &back);
    for (size_t i = 0; i < scores.size(); ++i) {
      auto above = scores, below = scores;
      above[i] += 0x1p-8f, below[i] -= 0x1p-8f;
      CHECK(std::abs((loss(above, gold, nullptr) - loss(below, gold, nullptr)) / 0x1p-7 - double{back[i]}) < 1e-3);
    }
  }
}

TEST(a_loss_on_a_tape_that_has_failed_is_nothing) {
  Rig rig({});
  const Var scores = rig.tape.constant(1, 3, std::vector<float>{1, 2, 3}, true);
  rig.tape.fail(Status(Code::NoMemory, "full"));
  const Var none = rig.tape.softmax(scores);
  CHECK_EQ(MemoryModel::route_loss(rig.tape, none, {2}, 1, 1), 0.0);
}

TEST(half_of_a_question_is_what_its_vector_is_made_of_where_the_paper_says_so) {
  Rig whole({.query_fraction = 1}), half({.query_fraction = 0.5f});
  auto question = text(4, 9), other = question;
  other[5] = 200;  // behind the first half, rounded up
  const auto vector = [](Rig& rig, const std::vector<TokenId>& q) { return rig.tape.read(rig.query(q)); };
  CHECK(difference(vector(half, question), vector(half, other)) == 0);
  CHECK(difference(vector(whole, question), vector(whole, other)) > 1e-5f);
  other = question, other[4] = 200;
  CHECK(difference(vector(half, question), vector(half, other)) > 1e-5f);
}

TEST(memories_enter_in_the_size_of_embeddings_where_they_are_scaled) {
  Rig scaled({.scales = true}), raw({});
  const auto memories = numbers(2 * kWidth, 1);
  const auto size = [](std::span<const float> values) {
    double squares = 0;
    for (const float x : values) squares += double{x} * double{x};
    return std::sqrt(squares / static_cast<double>(values.size()));
  };
  CHECK(difference(raw.tape.read(raw.memory->weights().entered(raw.tape, raw.tape.constant(2, kWidth, memories))),
                   memories) == 0);
  const auto entered =
      scaled.tape.read(scaled.memory->weights().entered(scaled.tape, scaled.tape.constant(2, kWidth, memories)));
  for (int i : {0, 1})
    CHECK(std::abs(size(row(entered, i)) /
                       double{hidden_shape(scaled.decoder->config(), scaled.decoder->table()).embedding_size} -
                   1) < 1e-3);
}

TEST(every_part_of_a_memory_gets_a_gradient_and_every_gradient_is_right) {
  // One loss through reading, aggregation, routing and answering, against differences of every part.
  for (const Aggregation kind : kAll) {
    Rig rig({.aggregation = kind, .scales = true}, 2);
    rig.shake();
    const TextTree t = tree();
    const auto question = text(9, 7), answer = text(10, 4);
    const auto run = [&](bool back) {
      Tape& tape = rig.tape;
      tape.clear();
      const Var memories = rig.memory->build(tape, t);
      const Var scores = rig.memory->scores(tape, rig.query(question), memories);
      const Var siblings = tape.reshaped(tape.gathered(tape.reshaped(scores, 9, 1), {1, 4}), 1, 2);
      double loss = MemoryModel::route_loss(tape, siblings, {0}, 1, 1);
      std::vector<TokenId> words = question;
      words.insert(words.end(), answer.begin(), answer.end());
      const Var parts[] = {rig.memory->weights().entered(tape, tape.gathered(memories, {0, 1, 4, 7})),
                           rig.decoder->embed(tape, words)};
      Batch batch;
      batch.add(4 + static_cast<int>(words.size()));
      const Var rows = tape.gathered(rig.decoder->run(tape, tape.stacked(parts), batch), {10, 11, 12, 13});
      loss += rig.decoder->loss(tape, rows, {answer.begin(), answer.end()}, {1, 1, 1, 1});
      if (back) CHECK(tape.backward().ok());
      return loss;
    };
    REQUIRE(rig.parameters.clear_gradients().ok());
    run(true);
    for (const Parameter& p : rig.parameters.all()) {
      std::vector<float> gradient(static_cast<size_t>(p.size()));
      CHECK(rig.backend->download(rig.backend->self, gradient.data(), p.gradient.data(), gradient.size() * 4).ok());
      // Along the gradient itself, the loss rises by its norm.
      double squares = 0;
      for (const float x : gradient) squares += double{x} * double{x};
      const double norm = std::sqrt(squares);
      if (!(norm > 0)) test::fail(__FILE__, __LINE__, p.name + " has no gradient");
      const auto middle = *rig.parameters.values(p);
      const double step = 1e-2 / std::max(1.0, norm);
      double ends[2];
      for (int end : {0, 1}) {
        auto moved = middle;
        for (size_t i = 0; i < moved.size(); ++i)
          moved[i] += static_cast<float>((end == 1 ? step : -step) * double{gradient[i]} / norm);
        CHECK(rig.parameters.set_values(*rig.parameters.find(p.name), moved).ok());
        ends[end] = run(false);
      }
      CHECK(rig.parameters.set_values(*rig.parameters.find(p.name), middle).ok());
      const double slope = (ends[1] - ends[0]) / (2 * step);
      if (!(std::abs(slope - norm) < 0.02 * norm + 2e-4))
        test::fail(__FILE__, __LINE__, p.name + ": " + std::to_string(slope) + ", not " + std::to_string(norm));
    }
  }
}
