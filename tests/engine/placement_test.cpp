// Which device gets which layers, and that a model computes the same wherever its layers are.
#include "engine/placement.h"

#include "engine/transformer/transformer.h"
#include "kernels/cpu_backend.h"
#include "tests/support/check.h"
#include "tests/support/random_model.h"

using namespace longleaf;
using namespace longleaf::test;
using kernels::DType;

namespace {

using Layers = std::vector<int>;

Layers place(const ModelNeeds& needs, const std::vector<uint64_t>& rooms) { return place_layers(needs, rooms); }

struct Split {
  std::string bytes;
  kernels::BackendPtr devices[3];
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<KvStore> store;

  explicit Split(const std::vector<int>& shares) {
    RandomModel shape;
    shape.layers = 4;
    bytes = random_model_gguf(shape);
    Placement placement;
    for (size_t i = 0; i < shares.size(); ++i) {
      devices[i] = kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 0});
      placement.push_back({devices[i].get(), shares[i]});
    }
    const auto file = ModelFile::parse({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "random");
    const auto model = Model::load(*file, placement);
    if (!model.ok()) {
      fail(__FILE__, __LINE__, model.status().message());
      return;
    }
    transformer = std::move(*Transformer::create(*model));
    store = std::make_unique<KvStore>((*model)->config(), placement, DType::F32);
  }
  std::vector<float> logits(int n, const Strategy& strategy, const LayerTap& tap = nullptr) {
    std::vector<TokenId> ids;
    for (int i = 0; i < n; ++i) ids.push_back((i * 37 + 5) % 256);
    std::vector<float> logits;
    CHECK(transformer->forward(ids, *store, strategy, Want::AllLogits, &logits, {}, tap).ok());
    return logits;
  }
};

class TwoLayers : public DenseStrategy {
 public:
  int depth(int) const override { return 2; }
};

}  // namespace

TEST(the_best_device_takes_the_last_layers_and_as_many_as_it_can) {
  const ModelNeeds needs{{10, 10, 10, 30}, 0, 25, 0, 5};
  CHECK_EQ(needs.all(), uint64_t{90});
  CHECK(place(needs, {90}) == Layers{4});
  CHECK(place(needs, {89}) == Layers{3});
  CHECK(place(needs, {60}) == Layers{1});
  CHECK(place(needs, {59}) == Layers{0});
  CHECK(place(needs, {70, 25}) == (Layers{2, 2}));  // the second has a workspace too, but no output
  CHECK(place(needs, {70, 24}) == (Layers{2, 1}));
  CHECK(place(needs, {59, 60}) == (Layers{0, 1}));  // who cannot have the output leaves it to the next
  CHECK(place(needs, {1000, 1000}) == (Layers{4, 0}));
  CHECK(place(needs, {}).empty());
  CHECK(place({}, {0}) == Layers{0});
}

TEST(weights_are_counted_with_their_layer) {
  Split whole({4});
  REQUIRE(whole.transformer != nullptr);
  const ModelConfig& c = whole.transformer->model().config();
  // q, k, v, o: 32 by 32, 16, 16, 32; three of 32 by 64
  CHECK(c.layer_bytes == std::vector<uint64_t>(4, 4 * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 64)));
  CHECK(c.output_bytes >= static_cast<uint64_t>(4 * 32 * c.n_vocab) && c.output_bytes < 2 * c.layer_bytes[0]);
}

TEST(needs_count_weights_activations_and_keys_of_every_layer) {
  ModelConfig config;
  config.n_layers = 2;
  config.d_model = 8, config.d_ff = 16, config.n_heads = 2, config.n_kv_heads = 1, config.head_dim = 4;
  config.n_vocab = 100;
  config.layer_bytes = {1000, 2000};
  config.output_bytes = 500;
  const ModelNeeds needs = needs_on_processor(config, DType::F16, 10, 3),
                   card = needs_on_card(config, DType::F16, 10, 3);
  const uint64_t page = 64 * 2 * 4 * 2;  // of a layer: 64 tokens' keys and values of 4 halves
  CHECK(needs.layer_bytes == (std::vector<uint64_t>{1000 + page, 2000 + page}));
  CHECK_EQ(needs.kv_bytes, 2 * page);
  CHECK_EQ(needs.logit_bytes, uint64_t{4 * 16 * (100 + 2048 + 2)});  // 16 rows of logits and of the best
  CHECK_EQ(needs.output_bytes, 500 + needs.logit_bytes);
  // 3 hidden rows, one of heads, 2 of keys and values, 2 of the feed-forward part, and a wide one, of 3 tokens
  CHECK_EQ(needs.workspace_bytes, uint64_t{4 * (24 + 8 + 8 + 32 + 16) * 3});
  CHECK_EQ(needs.all(), 3000 + 2 * page + needs.output_bytes + needs.workspace_bytes);
  // On a card also 8 tokens' 64 parts of 2 heads, of 4 sums and 2 numbers; and the rows of 10 tokens in 2 layers.
  CHECK_EQ(card.workspace_bytes - needs.workspace_bytes, uint64_t{4 * 8 * 64 * 2 * 6 + 2 * 2 * 4 * 2 * 10});
  CHECK(card.layer_bytes == needs.layer_bytes && card.output_bytes == needs.output_bytes);
}

TEST(a_model_computes_the_same_bits_wherever_its_layers_are) {
  Split whole({4});
  REQUIRE(whole.transformer != nullptr);
  const auto expected = whole.logits(300, DenseStrategy());  // more than a batch
  for (const auto& shares : {Layers{1, 3}, Layers{3, 1}, Layers{2, 1, 1}}) {
    Split split(shares);
    REQUIRE(split.transformer != nullptr);
    std::vector<int> seen;
    const auto logits =
        split.logits(300, DenseStrategy(), [&](int layer, const kernels::Backend&, kernels::DevicePtr, int) {
          seen.push_back(layer);
          return Status();
        });
    CHECK(logits == expected);
    CHECK(seen == (Layers{0, 1, 2, 3, 0, 1, 2, 3}));
    for (size_t i = 0; i < shares.size(); ++i) CHECK(split.devices[i]->memory(split.devices[i]->self).used_bytes > 0);
  }
}

TEST(a_pass_that_stops_at_half_depth_does_not_reach_the_next_device) {
  Split split({2, 2});
  REQUIRE(split.transformer != nullptr);
  std::vector<int> seen;
  split.logits(5, TwoLayers(), [&](int layer, const kernels::Backend& device, kernels::DevicePtr, int) {
    CHECK(&device == split.devices[0].get());
    seen.push_back(layer);
    return Status();
  });
  CHECK(seen == (Layers{0, 1}));
}
