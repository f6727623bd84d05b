// HMT's recurrent memory in the engine that answers: what it computes is what training computed, what is read again,
// and what does not fit.
#include <algorithm>

#include "tests/support/memory_in_engine.h"
#include "tests/support/recurrent.h"

using namespace longleaf;
using namespace longleaf::test;
using train::RecurrentModel;

namespace {

// Sums of some hundred numbers of size one in F32, in two orders, through two layers for each of seven segments.
constexpr double kRounding = 1e-4;

// Nodes without text, shorter than a segment, and longer than two.
TextTree tree() {
  TextTree t;
  for (const int length : {0, 5, 30, 1, 0, 47, 12}) {
    t.parents.push_back(t.parents.empty() ? -1 : 0);
    std::vector<TokenId> tokens;
    for (int i = 0; i < length; ++i) tokens.push_back(3 + (i * i * 7 + 31 * static_cast<int>(t.size())) % 250);
    t.tokens.push_back(std::move(tokens));
  }
  return t;
}

}  // namespace

TEST(segments_are_the_text_in_reading_order) {
  const TextTree t = tree();
  const Segments text(t, 16);
  std::vector<TokenId> all, joined;
  for (const auto& tokens : t.tokens) all.insert(all.end(), tokens.begin(), tokens.end());
  CHECK_EQ(text.size(), size_t{6});  // of 95 tokens
  for (size_t i = 0; i < text.size(); ++i) joined.insert(joined.end(), text.segment(i).begin(), text.segment(i).end());
  CHECK(joined == all);
  CHECK_EQ(text.segment(5).size(), size_t{15});
  CHECK_EQ(text.summarized(0).size(), size_t{8});
  CHECK_EQ(text.summarized(5).size(), size_t{8});
  CHECK_EQ(text.with_front(0, 4).size(), size_t{16});
  CHECK_EQ(text.with_front(1, 4).front(), all[12]);
  CHECK_EQ(text.with_front(1, 20).size(), size_t{32});
  CHECK_EQ(text.with_front(6, 4).size(), size_t{4});
  CHECK_EQ(text.with_front(6, 4).back(), all.back());
  CHECK(text.of_node(0).empty() && text.of_node(4).empty());
  CHECK(text.of_node(1) == std::vector<int>{0});
  CHECK(text.of_node(2) == (std::vector<int>{0, 1, 2}));
  CHECK(text.of_node(6) == std::vector<int>{5});
  CHECK(text.last_nodes(12) == std::vector<int>{6});
  CHECK(text.last_nodes(13) == (std::vector<int>{5, 6}));
  CHECK(text.last_nodes(0).empty());
  CHECK_EQ(Segments(TextTree{{-1}, {{}}}, 16).size(), size_t{0});
}

TEST(the_engine_makes_the_memories_that_training_made) {
  for (const auto& settings : {recurrent(16, 0), recurrent(16, 5), recurrent(7, 9, 3), recurrent(16, 5, 300, false)}) {
    TrainedAdapter trained(settings);
    const MemoryInEngine answers(trained);
    const TextTree t = tree();
    answers.encode(t);
    const auto expected = memories_of(trained, answers.learned->segments(t));
    const auto memories = answers.memories(t);
    CHECK(difference(memories.values, expected) < kRounding);

    const std::vector<TokenId> question(t.tokens[2].begin(), t.tokens[2].begin() + 9);
    trained.tape.clear();
    train::Tape& tape = trained.tape;
    const std::span<const TokenId> asked[] = {question};
    const auto values = tape.constant(static_cast<int>(expected.size() / 32), 32, expected);
    const auto summary = trained.memory->queries(tape, asked);
    auto scores = answers.scores(question, memories);
    CHECK(difference(scores, tape.read(trained.memory->scores(tape, summary, values))) < kRounding);
    std::vector<float> shares;
    for (size_t i = 0; i + static_cast<size_t>(settings.recalled) < scores.size(); ++i) scores[i] = -INFINITY;
    const auto recalled = answers.learned->recalled(memories, scores, shares);
    REQUIRE_OK(recalled);
    const RecurrentModel model(*trained.decoder, *trained.memory);
    CHECK(difference(*recalled, tape.read(model.given(tape, summary, values))) < kRounding);
    double sum = 0;
    for (const float share : shares) sum += double{share};
    CHECK(std::abs(sum - 1) < 1e-5);
    const auto nothing = answers.learned->recalled({}, {}, shares);
    REQUIRE_OK(nothing);
    CHECK(difference(*nothing, tape.read(model.given(tape, summary, {}))) < 1e-6);
  }
}

// What stands in front of a segment, and what it recalls, is all that a memory can know of the text before it.
TEST(a_memory_knows_of_all_text_in_front_of_it_and_none_behind) {
  TrainedAdapter trained(recurrent(16, 0));
  TextTree t = tree();
  const auto before = memories_of(trained, Segments(t, 16));
  t.tokens[2][20] += 1;  // token 25, in the second half of segment 1, which no summary sees
  const auto after = memories_of(trained, Segments(t, 16));
  for (size_t i = 0; i < 6; ++i) {
    const auto row = [&](const std::vector<float>& rows) {
      return std::vector<float>(rows.begin() + static_cast<long>(32 * i),
                                rows.begin() + static_cast<long>(32 * i + 32));
    };
    CHECK((row(before) != row(after)) == (i >= 1));
  }
}

TEST(windows_that_are_read_side_by_side_do_not_see_each_other) {
  TrainedAdapter trained(recurrent(16, 5));
  const RecurrentModel model(*trained.decoder, *trained.memory);
  const TextTree t = tree();
  const Segments text(t, 16);
  train::Tape& tape = trained.tape;
  for (const auto from : {RecurrentModel::From::Recall, RecurrentModel::From::Last}) {
    tape.clear();
    const auto together = model.read(tape, {{&text, {0, 1, 2}}, {&text, {5}}, {&text, {1, 3, 4}}}, from, true);
    const auto alone = model.read(tape, {{&text, {1, 3, 4}}}, from, true);
    CHECK(difference(tape.read(together.memories[2]), tape.read(alone.memories[0])) < kRounding);
    CHECK_EQ(together.targets.size(), size_t{6 * 16 + 15});
    CHECK_EQ(tape.rows(together.rows), 6 * 16 + 15);
    CHECK(std::equal(alone.targets.begin(), alone.targets.begin() + 16, text.segment(1).begin()));
  }
}

TEST(a_segment_begins_with_the_last_memory_or_with_what_it_recalls_of_all) {
  const Segments text(tree(), 16);
  const auto read = [&](RecurrentModel::From from, int recalled) {
    TrainedAdapter trained(recurrent(16, 0, recalled));
    const RecurrentModel model(*trained.decoder, *trained.memory);
    return trained.tape.read(model.read(trained.tape, {{&text, {0, 1, 2, 3}}}, from, false).memories[0]);
  };
  const auto last = read(RecurrentModel::From::Last, 300);
  CHECK(difference(last, read(RecurrentModel::From::Recall, 1)) < 1e-5);  // of one there is nothing else to recall
  CHECK(difference(last, read(RecurrentModel::From::Recall, 300)) > 1e-3);
}

TEST(an_edited_text_is_read_again_from_there_on) {
  TrainedAdapter trained(recurrent(16, 5));
  const MemoryInEngine answers(trained);
  TextTree t = tree();
  CHECK_EQ(answers.encode(t), int64_t{95});
  t.tokens[2][20] += 1;  // in segment 1 of six
  const auto known = answers.learned->known(t, answers.folder.path());
  CHECK_EQ(known.size(), size_t{1});
  CHECK_EQ(answers.encode(t, known), int64_t{95 - 16});
  CHECK_EQ(answers.encode(t, {}, "anew"), int64_t{95});
  CHECK(difference(answers.memories(t).values, answers.memories(t, "anew").values) < kRounding);
}

TEST(a_making_that_was_stopped_goes_on) {
  TrainedAdapter trained(recurrent(16, 5));
  const MemoryInEngine answers(trained);
  const TextTree t = tree();
  CHECK_EQ(answers.encode_until(t, 3), size_t{3});
  CHECK_EQ(answers.encode(t), int64_t{95 - 3 * 16});
  answers.encode(t, {}, "whole");
  CHECK(difference(answers.memories(t).values, answers.memories(t, "whole").values) < kRounding);
}

TEST(an_adapter_whose_segments_the_model_cannot_read_is_refused) {
  TrainedAdapter trained(recurrent(32, 6));
  AdapterContents adapter = trained.adapter();
  adapter.memory.segment_tokens = 1 << 20;
  const auto backend = kernels::make_cpu_backend();
  const auto transformer = std::move(*Transformer::create(*Model::load(trained.file, *backend)));
  const Status status = LearnedMemory::load(adapter, *transformer, kernels::DType::F32).status();
  CHECK(status.code() == Code::Corrupt && status.message().find("longer than the model") != std::string::npos);
  const TemporaryFolder folder;
  for (const int wrong : {0, -1, (1 << 20) + 1}) {
    adapter.memory.segment_tokens = wrong;
    REQUIRE_OK(save_adapter(folder / "a.gguf", adapter));
    CHECK(load_adapter(folder / "a.gguf", *trained.file, adapter.model_fingerprint).status().code() == Code::Corrupt);
  }
}
