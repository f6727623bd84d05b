// Span attention and the KV store it reads, every CPU version against the twins.
#include <cstring>

#include "kernels/ops_cpu.h"
#include "tests/support/check.h"
#include "tests/support/kernels.h"

using namespace longleaf;
using namespace longleaf::kernels;
using namespace longleaf::test;

namespace {

// A KV store of one layer over `n_keys` keys with random contents.
struct Store {
  Store(DType type, int n_kv_heads, int head_dim, int n_keys) {
    const size_t page_bytes = kv_page_layer_bytes(type, n_kv_heads, head_dim);
    for (int i = 0; i * kPageTokens < n_keys; ++i) memory.emplace_back(page_bytes, uint8_t{0x7f});  // unwritten: NaN
    for (auto& page : memory) pages.push_back(ptr(page));
    view = {ptr(pages), 0, type, n_kv_heads, head_dim};
    auto k = random_floats(static_cast<size_t>(n_keys * n_kv_heads * head_dim)), v = k;
    for (auto& x : v) x = x * 0.5f + 0.1f;
    twin::kv_write({view, ptr(k), ptr(v), DType::F32, n_keys, 0}, 0, n_keys);
  }
  std::vector<std::vector<uint8_t>> memory;
  std::vector<DevicePtr> pages;
  KvView view;
};

}  // namespace

TEST(attention_twin_matches_a_row_worked_out_by_hand) {
  Store store(DType::F32, 1, 2, 2);
  std::vector<float> k = {1, 0, 0, 1}, v = {10, 0, 0, 20}, q = {std::log(3.0f), 0}, out = {kNaN, kNaN};
  twin::kv_write({store.view, ptr(k), ptr(v), DType::F32, 2, 0}, 0, 2);
  std::vector<Span> spans = {{0, 2, 0, 0}};
  std::vector<int32_t> groups = {0, 1};
  std::vector<float> inv_freq = {1};
  twin::span_attention(
      {ptr(q), ptr(out), store.view, 1, 1, 1, ptr(spans), ptr(groups), 1, ptr(inv_freq), 2, RopeStyle::Adjacent, 1.0f});
  CHECK(std::abs(out[0] - 7.5f) < 1e-5f);  // weights 3/4 and 1/4
  CHECK(std::abs(out[1] - 5.0f) < 1e-5f);
}

TEST(span_attention_agrees_with_its_twin) {
  for (auto& backend : backends()) {
    for (DType type : {DType::F32, DType::F16}) {
      for (int head_dim : {8, 64, 80}) {
        const int kv_heads = 2, heads = 6, keys = 3 * kPageTokens + 5, tokens = 11, first_key = keys - tokens;
        Store store(type, kv_heads, head_dim, keys);
        auto q = random_floats(static_cast<size_t>(tokens * heads * head_dim));
        std::vector<float> inv_freq(static_cast<size_t>(head_dim / 2));
        for (size_t i = 0; i < inv_freq.size(); ++i)
          inv_freq[i] = std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(head_dim));
        std::vector<Span> spans = {
            {0, 3, 0, 0}, {40, 60, 17, 0}, {130, keys - 130, -5, 1}, {2, 7, 0, 0}, {100, keys - 100, 0, 1}};
        std::vector<int32_t> groups = {0, 3, 5};
        std::vector<float> expected(q.size(), kNaN), got(q.size(), kNaN);
        std::vector<int32_t> positions(tokens);
        for (int t = 0; t < tokens; ++t) positions[static_cast<size_t>(t)] = first_key + t + 9;
        for (size_t s = 0; s < spans.size(); ++s) spans[s].position = spans[s].key_begin + static_cast<int>(s);
        for (int variant = 0; variant < 4; ++variant) {
          const RopeStyle style = variant % 2 == 0 ? RopeStyle::Adjacent : RopeStyle::Halves;
          SpanAttentionArgs args{ptr(q), ptr(expected), store.view, tokens, heads, first_key, ptr(spans), ptr(groups),
                                 2,      ptr(inv_freq), head_dim,   style,  0.125f};
          args.positions = ptr(positions);
          args.soft_cap = variant >= 2 ? 2.0f : 0.0f;
          args.window = variant >= 2 ? 80 : 0;
          twin::span_attention(args);
          args.out = ptr(got);
          CHECK(backend->span_attention(backend->self, args).ok());
          // Scores are off by head_dim*unit*|q||k|*scale (norms about sqrt(head_dim), so times head_dim) and e^x by
          // 2 ulp; weights by that relative amount; |v| <= ~3; plus the sum over the keys.
          const double score_error = head_dim * kUnit * head_dim * 0.125 * 4;
          const std::vector<double> bound(q.size(), 3.0 * (2 * score_error + (keys + 8) * kUnit));
          CHECK(worst(expected, got, bound) <= 1.0);
        }
      }
    }
  }
}

TEST(span_attention_gives_the_same_bits_alone_and_in_a_batch) {
  for (auto& backend : backends()) {
    const int heads = 4, d = 16, keys = 150, tokens = 21;
    Store store(DType::F32, 2, d, keys);
    auto q = random_floats(tokens * heads * d);
    std::vector<float> inv_freq(d / 2, 0.5f), together(q.size(), kNaN), alone(q.size(), kNaN);
    std::vector<Span> spans = {{0, keys, 0, 1}};
    std::vector<int32_t> groups = {0, 1};
    SpanAttentionArgs args{ptr(q),     ptr(together), store.view, tokens,        heads, keys - tokens,
                           ptr(spans), ptr(groups),   1,          ptr(inv_freq), d,     RopeStyle::Halves,
                           0.25f};
    CHECK(backend->span_attention(backend->self, args).ok());
    for (int t = 0; t < tokens; ++t) {
      SpanAttentionArgs one = args;
      one.q = at(args.q, static_cast<size_t>(t * heads * d * 4));
      one.out = at(ptr(alone), static_cast<size_t>(t * heads * d * 4));
      one.n_tokens = 1;
      one.first_key = args.first_key + t;
      CHECK(backend->span_attention(backend->self, one).ok());
    }
    CHECK(together == alone);
  }
}

TEST(rotating_a_query_back_equals_moving_the_keys) {  // invariants T1 and T2 of the KV reuse specification
  const int d = 16;
  auto head = random_floats(d);
  std::vector<float> inv_freq(d / 2);
  for (size_t i = 0; i < inv_freq.size(); ++i) inv_freq[i] = std::pow(10000.0f, -static_cast<float>(i) / 8.0f);
  for (RopeStyle style : {RopeStyle::Adjacent, RopeStyle::Halves}) {
    auto once = head, twice = head;
    twin::rotate_head(once.data(), 900, inv_freq.data(), d, style);
    twin::rotate_head(twice.data(), 1200, inv_freq.data(), d, style);
    twin::rotate_head(twice.data(), -300, inv_freq.data(), d, style);
    for (size_t i = 0; i < once.size(); ++i) CHECK(std::abs(once[i] - twice[i]) < 8 * kUnit * 4);
  }
}

TEST(kv_rows_come_back_as_they_went_in) {
  for (DType type : {DType::F32, DType::F16}) {
    Store store(type, 2, 8, 100);
    std::vector<uint8_t> k(50 * 16 * 4, 1), v(k.size(), 2), k2(k.size(), 3), v2(k.size(), 4);
    twin::kv_read({store.view, ptr(k), ptr(v), type, 50, 30});
    Store other(type, 2, 8, 100);
    twin::kv_write({other.view, ptr(k), ptr(v), type, 50, 7}, 0, 50);
    twin::kv_read({other.view, ptr(k2), ptr(v2), type, 50, 7});
    const size_t bytes = 50 * 16 * static_cast<size_t>(format_of(type).bytes);
    CHECK(std::memcmp(k.data(), k2.data(), bytes) == 0);
    CHECK(std::memcmp(v.data(), v2.data(), bytes) == 0);
  }
}

TEST(what_half_precision_cannot_hold_disturbs_no_row_that_does_not_see_it) {
  for (auto& backend : backends()) {
    const int d = 8;
    Store store(DType::F16, 1, d, 2);
    std::vector<float> k(2 * d, 1.0f), v = k;
    k[d] = v[d] = 1e6f;  // of the second key
    CHECK(backend->kv_write(backend->self, {store.view, ptr(k), ptr(v), DType::F32, 2, 0}).ok());
    std::vector<float> q(2 * d, 1.0f), out(q.size(), kNaN), inv_freq(d / 2, 0.5f);
    std::vector<Span> spans = {{0, 2, 0, 1}};
    std::vector<int32_t> groups = {0, 1};
    const SpanAttentionArgs args{ptr(q),        ptr(out), store.view,        2,    1, 0, ptr(spans), ptr(groups), 1,
                                 ptr(inv_freq), d,        RopeStyle::Halves, 0.25f};
    CHECK(backend->span_attention(backend->self, args).ok());
    for (int i = 0; i < d; ++i) CHECK_EQ(out[static_cast<size_t>(i)], 1.0f);  // the first query sees the first key
    CHECK_EQ(out[d], 65504.0f);
  }
}
