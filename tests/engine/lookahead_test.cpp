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
  std::string bytes =
      random_model_gguf({.layers = 2, .d_model = 64, .heads = 4, .kv_heads = 2, .d_ff = 96, .context = 512, .seed = 3});
  kernels::BackendPtr backend =
      kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 2, .limit_bytes = 0});
  std::unique_ptr<Transformer> transformer;
  Rig() {
    auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "random");
    auto model = file.ok() ? Model::load(*file, *backend) : Result<std::shared_ptr<const Model>>(file.status());
    if (model.ok()) transformer = std::move(*Transformer::create(*model));
  }
};

std::vector<TokenId> prompt(int n_vocab) {
  std::vector<TokenId> ids;
  for (int i = 0; i < 40; ++i) ids.push_back((i * 7 + 3) % n_vocab);
  return ids;
}

// 80 tokens behind the prompt; `guessed` and `accepted` are null for one token at a time.
std::vector<TokenId> answer(Rig& rig, const SamplerOptions& options, int* accepted) {
  const auto known = prompt(rig.transformer->model().config().n_vocab);
  KvStore store(rig.transformer->model().config(), *rig.backend, kernels::DType::F16);
  const DenseStrategy dense;
  std::vector<float> logits;
  CHECK(rig.transformer->forward(known, store, dense, Want::LastLogits, &logits).ok());
  Sampler sampler(options);
  std::vector<TokenId> out = {sampler.pick(logits)};
  Lookahead ahead(*rig.transformer, store, dense, known);
  while (out.size() < 80) {
    if (accepted == nullptr) {
      CHECK(rig.transformer->forward(std::span(&out.back(), 1), store, dense, Want::LastLogits, &logits).ok());
      out.push_back(sampler.pick(logits));
    } else {
      const auto row = ahead.next(out.back(), {});
      CHECK(row.ok());
      if (!row.ok()) return out;
      out.push_back(sampler.pick(*row));
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
