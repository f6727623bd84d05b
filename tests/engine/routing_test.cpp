#include "engine/routing/router.h"

#include <limits>
#include <random>

#include "tests/support/check.h"

using namespace longleaf;

namespace {

// 1 ─ sections 100.. ─ `leaves` leaves each
std::vector<DocumentNode> tree(int sections, int leaves) {
  std::vector<DocumentNode> nodes = {{1, 0, false, 0, ""}};
  for (int s = 0; s < sections; ++s) {
    nodes.push_back({100 + s, 1, false, 0, ""});
    for (int l = 0; l < leaves; ++l) nodes.push_back({10000 + s * 100 + l, 100 + s, true, 50, "x"});
  }
  return nodes;
}

}  // namespace

TEST(words_alone_find_the_leaf_that_has_them) {
  const auto nodes = tree(10, 10);
  const RouteInput input{&nodes, {{10305, 7.0}, {10901, 2.0}}, nullptr, {}};
  for (auto method : {RouteMethod::Flat, RouteMethod::Descent}) {
    const Route r = route(input, {.method = method, .beam = 8, .least_leaves = 64});
    REQUIRE(r.leaves.size() == 2);
    CHECK_EQ(r.leaves[0].node, int64_t{10305});
  }
}

TEST(a_beam_as_wide_as_the_tree_equals_the_flat_scan) {
  const auto nodes = tree(7, 9);
  std::mt19937 random(5);
  RouteInput input{&nodes, {}, nullptr, {}};
  for (const auto& node : nodes)
    if (node.is_leaf && random() % 3 != 0) input.lexical[node.key] = static_cast<double>(random() % 1000);
  const Route flat = route(input, {.method = RouteMethod::Flat, .beam = 8, .least_leaves = 64});
  const Route descent = route(input, {.method = RouteMethod::Descent, .beam = 1000, .least_leaves = 64});
  CHECK_EQ(descent.leaves.size(), flat.leaves.size());
  CHECK_EQ(descent.trace.size(), nodes.size());
}

TEST(a_narrow_beam_prunes_and_says_so) {
  const auto nodes = tree(30, 10);
  const RouteInput input{&nodes, {{10305, 7.0}}, nullptr, {}};
  const Route r = route(input, {.method = RouteMethod::Descent, .beam = 2, .least_leaves = 1});
  REQUIRE(!r.leaves.empty());
  CHECK_EQ(r.leaves[0].node, int64_t{10305});
  size_t pruned = 0;
  for (const auto& visited : r.trace) pruned += visited.kept ? 0 : 1;
  CHECK(pruned > 20 && r.trace.size() < nodes.size());
}

TEST(vectors_decide_where_words_are_silent) {
  const auto nodes = tree(2, 2);
  const NodeVectors vectors = {{10000, {1, 0}}, {10001, {0, 1}}, {10100, {-1, 0}}, {10101, {0, -1}}};
  const Route r = route({&nodes, {}, &vectors, {0, 1}}, {});
  REQUIRE(!r.leaves.empty());
  CHECK_EQ(r.leaves[0].node, int64_t{10001});
}

TEST(vectors_that_are_no_numbers_have_no_rank) {
  const auto nodes = tree(10, 10);
  NodeVectors vectors;
  for (const auto& node : nodes)
    if (node.is_leaf) vectors[node.key] = {std::numeric_limits<float>::quiet_NaN(), 1.0f};
  vectors[10305] = {1.0f, 0.0f};
  const Route r =
      route({&nodes, {}, &vectors, {1.0f, 0.0f}}, {.method = RouteMethod::Flat, .beam = 8, .least_leaves = 64});
  REQUIRE(r.leaves.size() == 1);
  CHECK_EQ(r.leaves[0].node, int64_t{10305});
}

TEST(sections_lend_their_score_to_their_leaves) {
  const auto nodes = tree(3, 3);
  const RouteInput alone{&nodes, {{10000, 9.0}, {10200, 8.0}}, nullptr, {}};
  const RouteInput company{&nodes, {{10000, 9.0}, {10200, 8.0}, {10201, 7.0}, {10202, 6.0}}, nullptr, {}};
  CHECK(route(company, {}).leaves[1].score > route(alone, {}).leaves[1].score);
}

TEST(kept_nodes_are_the_chosen_leaves_and_their_ancestors) {
  const auto nodes = tree(2, 2);
  Route r = route({&nodes, {{10000, 1.0}, {10101, 2.0}}, nullptr, {}}, {});
  mark_kept(r, nodes, {10101});
  for (const auto& visited : r.trace)
    CHECK_EQ(visited.kept, visited.node == 10101 || visited.node == 101 || visited.node == 1);
}

TEST(nothing_in_common_gives_no_leaf) {
  const auto nodes = tree(2, 2);
  CHECK(route({&nodes, {}, nullptr, {}}, {}).leaves.empty());
  const std::vector<DocumentNode> empty;
  CHECK(route({&empty, {}, nullptr, {}}, {}).leaves.empty());
}
