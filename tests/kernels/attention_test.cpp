// Span attention and the KV store it reads, every CPU version against the twins.
#include <cstring>

#include "kernels/half.h"
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

// The same store in a device's memory.
struct StoreOnDevice {
  StoreOnDevice(const Backend& backend, const Store& store) : table(backend, copy(backend, store)), view(store.view) {
    view.page_table = table.data();
  }
  std::vector<DevicePtr> copy(const Backend& backend, const Store& store) {
    std::vector<DevicePtr> addresses;
    for (const auto& page : store.memory) {
      pages.emplace_back(backend, page);
      addresses.push_back(pages.back().data());
    }
    return addresses;
  }
  std::vector<OnDevice<uint8_t>> pages;
  OnDevice<DevicePtr> table;
  KvView view;
};

// What an attention reads besides queries and keys, in a device's memory.
struct Inputs {
  Inputs(const Backend& backend, const std::vector<float>& queries, const std::vector<Span>& all_spans,
         const std::vector<int32_t>& groups, const std::vector<float>& frequencies,
         const std::vector<int32_t>& places = {0})
      : q(backend, queries),
        out(backend, std::vector<float>(queries.size(), kNaN)),
        spans(backend, all_spans),
        group_begin(backend, groups),
        inv_freq(backend, frequencies),
        positions(backend, places) {}
  SpanAttentionArgs with(SpanAttentionArgs args, const KvView& view) const {
    args.q = q.data(), args.out = out.data(), args.kv = view, args.spans = spans.data();
    args.group_begin = group_begin.data(), args.inv_freq = inv_freq.data(), args.positions = positions.data();
    return args;
  }
  OnDevice<float> q, out;
  OnDevice<Span> spans;
  OnDevice<int32_t> group_begin;
  OnDevice<float> inv_freq;
  OnDevice<int32_t> positions;
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
    for (DType type : {DType::F32, DType::F16, DType::Q8_0}) {
      for (const auto& [head_dim, tokens] :
           {std::pair{8, 11}, {64, 1}, {64, 8}, {64, 65}, {80, 11}, {96, 11}, {256, 11}}) {
        if (type == DType::Q8_0 && head_dim % kKvBlock != 0) continue;
        const int kv_heads = 2, heads = 6, keys = 3 * kPageTokens + 5, first_key = keys - tokens;
        Store store(type, kv_heads, head_dim, keys);
        const StoreOnDevice on_device(*backend, store);
        auto q = random_floats(static_cast<size_t>(tokens * heads * head_dim));
        std::vector<float> inv_freq(static_cast<size_t>(head_dim / 2));
        for (size_t i = 0; i < inv_freq.size(); ++i)
          inv_freq[i] = std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(head_dim));
        std::vector<Span> spans = {
            {0, 3, 0, 0}, {40, 60, 17, 0}, {130, keys - 130, -5, 1}, {2, 7, 0, 0}, {100, keys - 100, 0, 1}};
        std::vector<int32_t> groups = {0, 3, 5};
        std::vector<float> expected(q.size(), kNaN);
        std::vector<int32_t> positions(static_cast<size_t>(tokens));
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
          const Inputs inputs(*backend, q, spans, groups, inv_freq, positions);
          CHECK(backend->span_attention(backend->self, inputs.with(args, on_device.view)).ok());
          // Scores are off by head_dim*unit*|q||k|*scale (norms about sqrt(head_dim), so times head_dim) and e^x by
          // 2 ulp; weights by that relative amount; |v| <= ~3; plus the sum over the keys.
          double score_error = head_dim * kUnit * head_dim * 0.125 * 4, weight_error = 0;
          if (test_gpu() != nullptr && type != DType::F32 && tokens > kSameBits) {
            // Each number of a query is rounded to a half (2^-11 of its size, in one direction or the other), and each
            // weight: errors of random sign add up to the root of their number; five of those deviations.
            const double half_unit = 0x1p-11 / std::sqrt(3.0);
            score_error += 5 * std::sqrt(head_dim) * half_unit * 0.125;
            weight_error = 5 * half_unit;
            // What 8 bits stand for is rounded as well: keys as queries are, and values.
            if (type == DType::Q8_0) score_error *= 2, weight_error += 5 * half_unit;
          }
          const std::vector<double> bound(q.size(), 3.0 * (2 * score_error + weight_error + (keys + 8) * kUnit));
          const double ratio = worst(expected, inputs.out.read(), bound);
          if (!(ratio <= 1.0))
            std::printf("%s %s %d x %d: %g\n", backend->name.c_str(), name_of(type), head_dim, tokens, ratio);
          CHECK(ratio <= 1.0);
        }
      }
    }
  }
}

TEST(span_attention_gives_the_same_bits_alone_and_in_a_batch) {
  for (auto& backend : backends()) {
    const int heads = 4, d = 16, keys = 150, tokens = test_gpu() != nullptr ? kSameBits : 21;
    Store store(DType::F32, 2, d, keys);
    const StoreOnDevice on_device(*backend, store);
    const auto q = random_floats(static_cast<size_t>(tokens * heads * d));
    const Inputs together(*backend, q, {{0, keys, 0, 1}}, {0, 1}, std::vector<float>(d / 2, 0.5f));
    const OnDevice alone(*backend, std::vector<float>(q.size(), kNaN));
    SpanAttentionArgs args;
    args.n_tokens = tokens, args.n_heads = heads, args.first_key = keys - tokens;
    args.rope_dims = d, args.rope_style = RopeStyle::Halves, args.scale = 0.25f;
    args = together.with(args, on_device.view);
    CHECK(backend->span_attention(backend->self, args).ok());
    for (int t = 0; t < tokens; ++t) {
      SpanAttentionArgs one = args;
      one.q = at(args.q, static_cast<size_t>(t * heads * d * 4));
      one.out = at(alone.data(), static_cast<size_t>(t * heads * d * 4));
      one.n_tokens = 1;
      one.first_key = args.first_key + t;
      CHECK(backend->span_attention(backend->self, one).ok());
    }
    CHECK(together.out.read() == alone.read());
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
  for (auto& backend : backends()) {
    for (DType type : {DType::F32, DType::F16, DType::Q8_0}) {
      const int dim = type == DType::Q8_0 ? 96 : 8;
      const Store empty(type, 2, dim, 100);
      const StoreOnDevice store(*backend, empty);
      const size_t bytes = 50 * 2 * kv_row_bytes(type, dim);
      std::vector<uint8_t> k(bytes), v(bytes);
      for (size_t i = 0; i < bytes; ++i) k[i] = static_cast<uint8_t>(rng()), v[i] = static_cast<uint8_t>(rng());
      const OnDevice k_in(*backend, k), v_in(*backend, v);
      const OnDevice k_out(*backend, std::vector<uint8_t>(bytes)), v_out(*backend, std::vector<uint8_t>(bytes));
      CHECK(backend->kv_write(backend->self, {store.view, k_in.data(), v_in.data(), type, 50, 37}).ok());
      CHECK(backend->kv_read(backend->self, {store.view, k_out.data(), v_out.data(), type, 50, 37}).ok());
      CHECK(k_out.read() == k);
      CHECK(v_out.read() == v);
    }
  }
}

// Where the first key is a number in the device's memory.
TEST(a_first_key_may_stand_in_memory) {
  for (auto& backend : backends()) {
    for (int tokens : {3, kSameBits + 5}) {
      const int d = 16, n_keys = 90;
      const Store keys(DType::F16, 1, d, n_keys);
      const StoreOnDevice store(*backend, keys);
      const OnDevice base(*backend, std::vector<int32_t>{n_keys - tokens - 4});
      const Inputs inputs(*backend, random_floats(static_cast<size_t>(tokens * d)), {{0, n_keys, 0, 1}}, {0, 1},
                          std::vector<float>(d / 2, 0.5f));
      SpanAttentionArgs args;
      args.n_tokens = tokens, args.n_heads = 1, args.rope_dims = d, args.rope_style = RopeStyle::Halves;
      args.scale = 0.25f, args.first_key = n_keys - tokens;
      CHECK(backend->span_attention(backend->self, inputs.with(args, store.view)).ok());
      const auto expected = inputs.out.read();
      args.first_key = 4, args.base_key = base.data();
      CHECK(backend->span_attention(backend->self, inputs.with(args, store.view)).ok());
      CHECK(inputs.out.read() == expected);
      const auto n = static_cast<size_t>(tokens * d);
      const OnDevice k(*backend, std::vector<float>(n, 2.0f)), v(*backend, std::vector<float>(n, 3.0f));
      const OnDevice back(*backend, std::vector<float>(n, kNaN));
      CHECK(backend->kv_write(backend->self, {store.view, k.data(), v.data(), DType::F32, tokens, 4, 1, 0, base.data()})
                .ok());
      CHECK(backend->kv_read(backend->self, {store.view, back.data(), k.data(), DType::F32, tokens, n_keys - tokens})
                .ok());
      CHECK(back.read() == std::vector<float>(n, 2.0f) && k.read() == v.read());
    }
  }
}

// Of several layers, and not of those around them.
TEST(kv_rows_of_layers_come_back_as_they_went_in) {
  constexpr int kLayers = 5, kHeads = 2, kDim = 8, kTokens = 30, kFirst = 50;  // over the end of a page
  const size_t layer_bytes = kv_page_layer_bytes(DType::F16, kHeads, kDim), half = kTokens * kHeads * kDim * 2;
  for (auto& backend : backends()) {
    std::vector<OnDevice<uint8_t>> pages;
    for (int i = 0; i < 2; ++i) pages.emplace_back(*backend, std::vector<uint8_t>(kLayers * layer_bytes, uint8_t{3}));
    const OnDevice table(*backend, std::vector<DevicePtr>{pages[0].data(), pages[1].data()});
    std::vector<uint8_t> rows(3 * 2 * half);
    for (auto& x : rows) x = static_cast<uint8_t>(rng());
    const OnDevice in(*backend, rows), out(*backend, std::vector<uint8_t>(rows.size()));
    const KvView view{table.data(), layer_bytes, DType::F16, kHeads, kDim};  // layers 1 to 3
    const auto args = [&](DevicePtr k) {
      return KvRowsArgs{view, k, at(k, half), DType::F16, kTokens, kFirst, 3, 2 * half};
    };
    CHECK(backend->kv_write(backend->self, args(in.data())).ok());
    CHECK(backend->kv_read(backend->self, args(out.data())).ok());
    CHECK(out.read() == rows);
    for (const auto& page : pages) {
      const auto bytes = page.read();
      const auto is_old = [](uint8_t x) { return x == 3; };
      CHECK(std::all_of(bytes.begin(), bytes.begin() + static_cast<long>(layer_bytes), is_old));
      CHECK(std::all_of(bytes.end() - static_cast<long>(layer_bytes), bytes.end(), is_old));
    }
  }
}

// Both ways, between any two formats.
TEST(kv_rows_are_converted_as_their_twin_does) {
  constexpr int kHeads = 3, kDim = 64, kTokens = 70;
  for (auto& backend : backends()) {
    for (DType type : {DType::F32, DType::F16, DType::Q8_0}) {
      for (DType other : {DType::F32, DType::F16, DType::Q8_0}) {
        Store store(type, kHeads, kDim, kTokens), into(type, kHeads, kDim, kTokens);
        const size_t bytes = kTokens * kHeads * kv_row_bytes(other, kDim);
        std::vector<uint8_t> k(bytes), v(bytes);
        twin::kv_read({store.view, ptr(k), ptr(v), other, kTokens, 0}, 0, kTokens);
        twin::kv_write({into.view, ptr(k), ptr(v), other, kTokens, 0}, 0, kTokens);
        const StoreOnDevice on_device(*backend, store);
        const OnDevice k_out(*backend, std::vector<uint8_t>(bytes)), v_out(*backend, std::vector<uint8_t>(bytes));
        CHECK(backend->kv_read(backend->self, {on_device.view, k_out.data(), v_out.data(), other, kTokens, 0}).ok());
        CHECK(k_out.read() == k);
        CHECK(v_out.read() == v);
        CHECK(backend->kv_write(backend->self, {on_device.view, k_out.data(), v_out.data(), other, kTokens, 0}).ok());
        for (size_t page = 0; page < into.memory.size(); ++page)
          CHECK(on_device.pages[page].read() == into.memory[page]);
      }
    }
  }
}

// Extra invariant of the KV reuse specification: no number is off by more than half a scale.
TEST(rows_of_eight_bits_are_as_near_as_they_can_be) {
  const float infinity = std::numeric_limits<float>::infinity();
  constexpr int kDim = 64, kTokens = 40, kBlocks = kTokens * kDim / kKvBlock;
  auto k = random_floats(kTokens * kDim, 3.0f), v = random_floats(kTokens * kDim);
  for (int i = 0; i < kDim; ++i) k[static_cast<size_t>(i)] *= 1e-6f;        // small, and
  for (int i = kDim; i < 2 * kDim; ++i) k[static_cast<size_t>(i)] *= 1e5f;  // large
  std::fill_n(v.begin(), kKvBlock, 0.0f);
  v[kKvBlock] = kNaN, v[2 * kKvBlock + 1] = infinity, v[3 * kKvBlock] = -1e30f;
  for (auto& backend : backends()) {
    const Store empty(DType::Q8_0, 1, kDim, kTokens);
    const StoreOnDevice store(*backend, empty);
    const OnDevice k_in(*backend, k), v_in(*backend, v);
    CHECK(backend->kv_write(backend->self, {store.view, k_in.data(), v_in.data(), DType::F32, kTokens, 0}).ok());
    const OnDevice k_out(*backend, std::vector<float>(k.size())), v_out(*backend, std::vector<float>(v.size()));
    CHECK(backend->kv_read(backend->self, {store.view, k_out.data(), v_out.data(), DType::F32, kTokens, 0}).ok());
    const auto keys = k_out.read(), values = v_out.read();
    for (int b = 0; b < kBlocks; ++b) {
      const auto first = static_cast<size_t>(b * kKvBlock);
      float top = 0;
      for (size_t i = first; i < first + kKvBlock; ++i) top = std::max(top, std::abs(k[i]));
      float scale = half_to_float(float_to_half(top / 127.0f));
      if (127 * scale < top) scale = half_to_float(static_cast<uint16_t>(float_to_half(scale) + 1));
      const double bound = 0.5 * double{scale} + double{top} * 2 * kUnit;  // codes are found by two roundings
      for (size_t i = first; i < first + kKvBlock; ++i) CHECK(std::abs(double{keys[i]} - double{k[i]}) <= bound);
    }
    CHECK(values[0] == 0 && values[kKvBlock - 1] == 0);
    CHECK(std::isnan(values[kKvBlock]) && std::isnan(values[kKvBlock + 7]));
    CHECK_EQ(values[2 * kKvBlock + 1], 127 * 65504.0f);  // the largest that there is
    CHECK_EQ(values[3 * kKvBlock], -127 * 65504.0f);
    CHECK(!std::isnan(values[2 * kKvBlock]));
  }
}

TEST(what_half_precision_cannot_hold_disturbs_no_row_that_does_not_see_it) {
  for (auto& backend : backends()) {
    for (int tokens : {2, kSameBits + 2}) {
      const int d = 8;
      const auto n = static_cast<size_t>(tokens * d);
      const Store empty(DType::F16, 1, d, tokens);
      const StoreOnDevice store(*backend, empty);
      std::vector<float> k(n, 1.0f), v = k;
      k[n - d] = v[n - d] = 1e6f;  // of the last key
      const OnDevice k_in(*backend, k), v_in(*backend, v);
      CHECK(backend->kv_write(backend->self, {store.view, k_in.data(), v_in.data(), DType::F32, tokens, 0}).ok());
      const Inputs inputs(*backend, std::vector<float>(n, 1.0f), {{0, tokens, 0, 1}}, {0, 1},
                          std::vector<float>(d / 2, 0.5f));
      SpanAttentionArgs args;
      args.n_tokens = tokens, args.n_heads = 1, args.rope_dims = d, args.rope_style = RopeStyle::Halves;
      args.scale = 0.25f;
      CHECK(backend->span_attention(backend->self, inputs.with(args, store.view)).ok());
      const auto out = inputs.out.read();
      for (size_t i = 0; i < n - d; ++i) CHECK(std::abs(out[i] - 1.0f) <= 2 * kUnit);  // they see the keys before it
      CHECK_EQ(out[n - d], 65504.0f);
    }
  }
}
