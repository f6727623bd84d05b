// What stays on the device between questions: pages that runs share, what makes way when memory is short, and answers
// that do not notice.
#include "engine/transformer/kv_store.h"

#include <numeric>

#include "kernels/cpu_backend.h"
#include "tests/support/memory_rig.h"

using namespace longleaf;
using namespace longleaf::test;
using kernels::DType;
using kernels::kPageTokens;

namespace {

ModelConfig small_config() {
  ModelConfig config;
  config.n_layers = 3;
  config.n_kv_heads = 2;
  config.head_dim = 8;
  return config;
}

std::vector<int32_t> counted(int first, int n) {
  std::vector<int32_t> positions(static_cast<size_t>(n));
  std::iota(positions.begin(), positions.end(), first);
  return positions;
}

// Different for every seed.
std::vector<uint8_t> rows(const KvStore& store, int n, int seed) {
  std::vector<uint8_t> bytes(store.rows_bytes(n));
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>((i * 7 + static_cast<size_t>(seed)) % 64);
  return bytes;
}

void write(KvStore& store, int first, int n, int seed) {
  CHECK(store.write_rows(first, n, rows(store, n, seed).data()).ok());
}

bool holds(const KvStore& store, int first, int n, int seed) {
  std::vector<uint8_t> found(store.rows_bytes(n));
  CHECK(store.read_rows(first, n, found.data()).ok());
  return found == rows(store, n, seed);
}

// A run of `n` tokens that is kept under `entry`.
void keep(KvStore& store, size_t entry, int n) {
  const int first = store.size();
  REQUIRE_OK(store.append(counted(1000 * static_cast<int>(entry), n)));
  write(store, first, n, static_cast<int>(entry));
  store.keep({1, entry}, first);
}

bool recalled(KvStore& store, size_t entry) {
  const auto there = store.recall({1, entry});
  CHECK(there.ok());
  return there.ok() && *there;
}

}  // namespace

TEST(a_run_that_is_kept_comes_back_with_its_positions_behind_others) {
  const auto backend = kernels::make_cpu_backend();
  const ModelConfig config = small_config();
  for (const Placement& placement :
       {Placement{{backend.get(), 3}}, Placement{{backend.get(), 2}, {backend.get(), 1}}}) {
    KvStore store(config, placement, DType::F16, 1000);
    keep(store, 1, 100);
    CHECK_EQ(store.size(), 2 * kPageTokens);  // what follows begins on a new page
    keep(store, 2, 30);
    store.truncate(0);
    CHECK(recalled(store, 2));
    CHECK(!recalled(store, 3));
    const int second = store.size();
    CHECK(recalled(store, 1));
    CHECK(holds(store, 0, 30, 2));
    CHECK(holds(store, second, 100, 1));
    CHECK_EQ(store.positions()[0], 2000);
    CHECK_EQ(store.positions()[static_cast<size_t>(second) + 99], 1099);
    // What is written behind them touches neither.
    const int end = store.size();
    REQUIRE_OK(store.append(counted(0, 70)));
    write(store, end, 70, 9);
    store.truncate(end);
    CHECK(holds(store, 0, 30, 2) && holds(store, second, 100, 1));
    store.truncate(0);
    CHECK(recalled(store, 1) && holds(store, 0, 100, 1));
  }
}

TEST(the_run_used_least_recently_makes_way_and_memory_stays_within_its_limit) {
  const auto backend = kernels::make_cpu_backend();
  KvStore store(small_config(), Placement{{backend.get(), 3}}, DType::F32, 6 * kPageTokens);
  size_t most = 0;
  for (size_t entry = 1; entry <= 40; ++entry) {
    keep(store, entry, 2 * kPageTokens);
    store.truncate(0);
    if (entry == 3) most = backend->memory(backend->self).used_bytes;
    if (entry > 3) CHECK(recalled(store, 2));  // so it is used all the time
    store.truncate(0);
  }
  CHECK_EQ(backend->memory(backend->self).used_bytes, most);
  CHECK(recalled(store, 2) && recalled(store, 40));
  CHECK(!recalled(store, 1) && !recalled(store, 38));
}

TEST(what_is_kept_makes_way_before_the_limit_is_passed) {
  const size_t page_bytes = 3 * kernels::kv_page_layer_bytes(DType::F32, 2, 8);
  const auto backend = kernels::make_cpu_backend();
  KvStore store(small_config(), Placement{{backend.get(), 3}}, DType::F32, 8 * kPageTokens);
  for (size_t entry = 1; entry <= 7; ++entry) {
    keep(store, entry, kPageTokens);
    store.truncate(0);
  }
  REQUIRE_OK(store.append(counted(0, 8 * kPageTokens)));
  CHECK(backend->memory(backend->self).used_bytes < 9 * page_bytes);  // with the table
}

TEST(what_is_kept_makes_way_for_what_is_read_when_the_device_is_full) {
  const size_t page_bytes = 3 * kernels::kv_page_layer_bytes(DType::F32, 2, 8);
  const auto backend =
      kernels::make_cpu_backend({.isa = kernels::Isa::Best, .n_threads = 1, .limit_bytes = 9 * page_bytes});
  KvStore store(small_config(), Placement{{backend.get(), 3}}, DType::F32, 1 << 20);
  for (size_t entry = 1; entry <= 3; ++entry) keep(store, entry, 2 * kPageTokens);
  store.truncate(0);
  REQUIRE_OK(store.append(counted(0, 5 * kPageTokens)));
  for (int page = 0; page < 5; ++page) write(store, page * kPageTokens, kPageTokens, 4);
  store.truncate(0);
  CHECK(!recalled(store, 1) && recalled(store, 3));
  CHECK(holds(store, 0, 2 * kPageTokens, 3));
  store.truncate(0);
  CHECK(store.append(counted(0, 20 * kPageTokens)).code() == Code::NoMemory);
  CHECK_EQ(store.size(), 0);
  REQUIRE_OK(store.append(counted(0, 6 * kPageTokens)));
}

TEST(a_leaf_that_is_asked_for_again_is_not_read_from_its_file) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(8);
  REQUIRE_OK(rig.encode(d));
  const auto first = rig.ask(d, Evidence::LeafKv, {11, 13, 16});
  // Behind this, reading keys and values from the file would be noticed.
  auto bytes = bytes_of(rig.memory_file());
  for (size_t i = bytes.size() / 8; i < bytes.size(); i += 512) bytes[i] ^= 1;
  std::ofstream(rig.memory_file(), std::ios::binary) << bytes;
  const auto again = rig.ask(d, Evidence::LeafKv, {16, 11});
  CHECK_EQ(again.stats.evidence, Evidence::LeafKv);
  CHECK_EQ(again.stats.reason, "asked for");
  CHECK_EQ(rig.ask(d, Evidence::LeafKv, {11, 13, 16}).text, first.text);
  // One that was not there yet is read, and found damaged.
  CHECK_EQ(rig.ask(d, Evidence::LeafKv, {11, 14}).stats.evidence, Evidence::Exact);
}

TEST(answers_that_reuse_what_is_kept_equal_first_ones) {
  MemoryRig rig, fresh;
  REQUIRE(rig.engine != nullptr && fresh.engine != nullptr);
  const auto d = document(12);
  REQUIRE_OK(rig.encode(d));
  REQUIRE_OK(fresh.encode(d));
  rig.ask(d, Evidence::LeafKv, {20, 15, 12});
  for (const std::vector<int64_t>& leaves : {std::vector<int64_t>{12, 18}, {15, 20}, {10, 12, 15, 18, 21}}) {
    const auto kept = rig.ask(d, Evidence::LeafKv, leaves);
    fresh.engine->rest();
    const auto read = fresh.ask(d, Evidence::LeafKv, leaves);
    CHECK(!kept.text.empty());
    CHECK_EQ(kept.text, read.text);
    // What is repaired is written again, and must not change what is kept.
    const auto likelihood = [&] {
      return *rig.engine->question_likelihood(d, rig.memory(), leaves.back(), "Which leaf?", {});
    };
    const double before = likelihood();
    CHECK_EQ(rig.ask(d, Evidence::LeafKv, leaves, 40).text, fresh.ask(d, Evidence::LeafKv, leaves, 40).text);
    CHECK_EQ(likelihood(), before);
    CHECK_EQ(rig.ask(d, Evidence::LeafKv, leaves).text, kept.text);
  }
}

TEST(the_planner_knows_what_need_not_be_loaded) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(8);
  REQUIRE_OK(rig.encode(d));
  for (const bool is_kept : {false, true}) {
    const Rates rates = rig.engine->rates();
    const auto stats = rig.ask(d, Evidence::LeafKv, {12, 15}).stats;
    const double question_ms = 1000 * stats.prefill_tokens / rates.prefill_tokens_per_s;
    CHECK_EQ(stats.predicted_ms < question_ms * (1 + 1e-9), is_kept);
  }
}

TEST(a_resting_engine_has_no_memory_and_answers_as_before) {
  MemoryRig rig;
  REQUIRE(rig.engine != nullptr);
  const auto d = document(6);
  REQUIRE_OK(rig.encode(d));
  const auto before = rig.ask(d, Evidence::LeafKv, {10, 13});
  const std::string device = rig.engine->device();
  CHECK(rig.engine->memory_use().device_bytes > 0);
  rig.engine->rest();
  CHECK(rig.engine->is_resting());
  CHECK_EQ(rig.engine->memory_use().device_bytes, uint64_t{0});
  CHECK_EQ(rig.engine->device(), device);
  CHECK_EQ(rig.ask(d, Evidence::LeafKv, {10, 13}).text, before.text);
  CHECK(!rig.engine->is_resting());
  rig.engine->rest();
  CHECK_EQ(rig.engine->encoded(d, rig.memory()).leaves, size_t{6});
  rig.engine->rest();
  CHECK(!rig.engine->node_memory(d, rig.memory())->nodes.empty());
}
