// Guessing ahead: what is guessed, and that it never changes an answer.
#include "engine/generate/lookahead.h"

#include "engine/generate/sampler.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"

using namespace longleaf;
using namespace longleaf::test;

namespace {

struct Rig {
  std::string bytes;
  kernels::BackendPtr backend =
      kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 2, .limit_bytes = 0});
  std::unique_ptr<Transformer> transformer;
  explicit Rig(int layers = 2, unsigned seed = 3, float logit_divisor = 1) {
    RandomModel shape;
    shape.layers = layers, shape.d_model = 64, shape.d_ff = 96, shape.context = 512, shape.seed = seed;
    shape.logit_divisor = logit_divisor;
    bytes = random_model_gguf(shape);
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "random");
    auto model = file.ok() ? Model::load(*file, *backend) : Result<std::shared_ptr<const Model>>(file.status());
    if (model.ok()) transformer = std::move(*Transformer::create(*model));
  }
};

std::unique_ptr<Draft> draft_of(Rig& rig) {
  auto draft = Draft::create(rig.transformer->shared_model(), kernels::DType::F16);
  CHECK(draft.ok());
  return std::move(*draft);
}

std::vector<TokenId> prompt(int n_vocab) {
  std::vector<TokenId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back((i * 7 + 3) % n_vocab);
  return ids;
}

// 80 tokens behind the prompt; `accepted` is null for one token at a time.
std::vector<TokenId> answer(Rig& rig, const SamplerOptions& options, int* accepted, Draft* draft = nullptr,
                            std::optional<Gate> gate = {}) {
  const auto known = prompt(rig.transformer->model().config().n_vocab);
  KvStore store(rig.transformer->model().config(), *rig.backend, kernels::DType::F16);
  const DenseStrategy dense;
  std::vector<float> logits;
  CHECK(rig.transformer->forward(known, store, dense, Want::LastLogits, &logits).ok());
  Sampler sampler(options);
  Lookahead ahead(*rig.transformer, store, dense, known);
  if (draft != nullptr) ahead.use_draft(*draft, gate, 0);
  if (!gate) ahead.leave_logits(options);  // the same tokens
  const auto first = ahead.choose(sampler, logits, {});
  CHECK(first.ok());
  std::vector<TokenId> out = {*first};
  while (out.size() < 80) {
    if (accepted == nullptr) {
      CHECK(rig.transformer->forward(std::span(&out.back(), 1), store, dense, Want::LastLogits, &logits).ok());
      out.push_back(sampler.pick(logits));
    } else {
      const auto row = ahead.next(out.back(), {});
      CHECK(row.ok());
      if (!row.ok()) return out;
      const auto chosen = ahead.choose(sampler, *row, {});
      CHECK(chosen.ok());
      out.push_back(*chosen);
    }
  }
  if (accepted != nullptr) *accepted = ahead.accepted();
  return out;
}

}  // namespace

TEST(what_followed_the_longest_repeated_run_is_guessed) {
  const std::vector<TokenId> text = {1, 2, 3, 9, 9, 2, 3, 4, 5, 6, 2, 3};
  CHECK(look_up(text, 2) == std::vector<TokenId>({4, 5}));  // the last place, not the first
  CHECK(look_up(text, 9) == std::vector<TokenId>({4, 5, 6, 2, 3}));
  CHECK(look_up(std::vector<TokenId>{1, 2, 3, 4}, 4).empty());
  CHECK(look_up(std::vector<TokenId>{7, 7, 7}, 4) == std::vector<TokenId>({7}));
  CHECK(look_up(std::vector<TokenId>{}, 4).empty());
}

TEST(guessing_ahead_changes_no_token_greedy_or_sampled) {
  Rig rig;
  REQUIRE(rig.transformer != nullptr);
  int greedy_accepted = 0;
  CHECK(answer(rig, {}, nullptr) == answer(rig, {}, &greedy_accepted));
  CHECK(greedy_accepted > 10);  // a small random model soon repeats itself
  for (uint64_t seed : {1u, 2u, 3u}) {
    SamplerOptions warm;
    warm.temperature = 0.3f;
    warm.seed = seed;
    int accepted = 0;
    CHECK(answer(rig, warm, nullptr) == answer(rig, warm, &accepted));
  }
}

// The device adds up a softmax of logits as they are; the sampler, of those that the model scales.
TEST(scaled_logits_are_picked_from_as_all_of_them_are) {
  for (float divisor : {0.25f, 8.0f}) {
    Rig rig(2, 3, divisor);
    REQUIRE(rig.transformer != nullptr);
    for (uint64_t seed : {1u, 2u, 3u}) {
      SamplerOptions warm;
      warm.temperature = 0.8f;
      warm.top_p = 0.9f;
      warm.seed = seed;
      int accepted = 0;
      CHECK(answer(rig, warm, nullptr) == answer(rig, warm, &accepted));
    }
  }
}

TEST(a_draft_model_changes_no_token_good_or_bad) {
  Rig rig, other(1, 9);
  REQUIRE(rig.transformer != nullptr && other.transformer != nullptr);
  for (Rig* writer : {&rig, &other}) {
    const auto draft = draft_of(*writer);
    for (float temperature : {0.0f, 0.3f}) {
      SamplerOptions options;
      options.temperature = temperature;
      options.seed = 5;
      int accepted = 0, without = 0;
      const auto expected = answer(rig, options, &without);
      CHECK(expected == answer(rig, options, &accepted, draft.get()));
      if (writer == &rig && temperature == 0) CHECK(accepted > without);  // it is its own draft: all it writes is right
    }
  }
}

TEST(a_draft_goes_on_from_any_text_as_if_it_had_read_it_anew) {
  Rig rig;
  REQUIRE(rig.transformer != nullptr);
  const auto used = draft_of(rig);
  const auto text = prompt(rig.transformer->model().config().n_vocab);
  for (size_t n : {size_t{10}, size_t{30}, size_t{12}, size_t{12}, size_t{40}, size_t{1}}) {
    const auto part = std::span(text).first(n);
    const auto fresh = draft_of(rig)->write(part, 6, 0, {}), again = used->write(part, 6, 0, {});
    REQUIRE(fresh.ok() && again.ok());
    CHECK(fresh->size() == 6 && *fresh == *again);
  }
  CHECK(used->write(std::vector<TokenId>(600, 1), 6, 0, {})->empty());   // longer than it was trained for
  CHECK(used->write(std::vector<TokenId>{1 << 20}, 6, 0, {})->empty());  // a token it does not know
  CHECK(used->write(text, 6, 1.5, {})->empty());                         // surer than anyone can be
  std::stop_source stop;
  stop.request_stop();
  CHECK(draft_of(rig)->write(text, 6, 0, stop.get_token()).status().code() == Code::Cancelled);
}

TEST(the_gate_goes_from_all_small_to_all_large) {  // invariants B1 to B3
  Rig rig, small(1, 9);
  REQUIRE(rig.transformer != nullptr && small.transformer != nullptr);
  const auto large_alone = answer(rig, {}, nullptr), small_alone = answer(small, {}, nullptr);
  REQUIRE(large_alone != small_alone);
  const auto gated = [&](Gate gate, int* accepted) { return answer(rig, {}, accepted, draft_of(small).get(), gate); };
  int accepted = 0;
  CHECK(gated({0, 1e9}, &accepted) == small_alone);
  CHECK(accepted > 60);  // of 80: the large model only reads them, several at once
  CHECK(gated({1.5, 1e9}, &accepted) == large_alone && accepted == 0);
  CHECK(gated({0, 0}, &accepted) == large_alone);
  const auto between = gated({0, 4.5}, &accepted);
  CHECK(between != large_alone && between != small_alone);
}
