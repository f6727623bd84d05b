// Routing by learned scores: the invariants of H²MT's descent.
#include "engine/routing/descent.h"

#include <algorithm>
#include <random>

#include "tests/support/check.h"

using namespace longleaf;

namespace {

// A random tree in reading order: every node's children follow it.
std::vector<int> random_tree(int n, std::mt19937& random) {
  std::vector<int> parents = {-1};
  std::vector<int> path = {0};
  while (static_cast<int>(parents.size()) < n) {
    path.resize(1 + random() % path.size());
    parents.push_back(path.back());
    path.push_back(static_cast<int>(parents.size()) - 1);
  }
  return parents;
}

std::vector<float> random_scores(size_t n, std::mt19937& random) {
  std::normal_distribution<float> normal(0, 2);
  std::vector<float> scores(n);
  for (float& score : scores) score = normal(random);
  return scores;
}

int depth_of(const std::vector<int>& parents, int node) {
  int depth = 0;
  for (; parents[static_cast<size_t>(node)] >= 0; node = parents[static_cast<size_t>(node)]) ++depth;
  return depth;
}

bool has(const std::vector<int>& nodes, int node) { return std::find(nodes.begin(), nodes.end(), node) != nodes.end(); }

}  // namespace

TEST(a_descent_that_keeps_all_children_reaches_every_node_level_by_level) {
  std::mt19937 random(1);
  const auto parents = random_tree(60, random);
  const auto nodes = descend(parents, random_scores(60, random), {.children = 60});
  CHECK_EQ(nodes.size(), size_t{60});
  for (size_t i = 1; i < nodes.size(); ++i) {
    const int before = depth_of(parents, nodes[i - 1]), here = depth_of(parents, nodes[i]);
    CHECK(before < here || (before == here && nodes[i - 1] < nodes[i]));
  }
}

TEST(a_descent_that_keeps_one_child_is_one_path_of_the_best) {
  //      0
  //   1     4
  //  2 3   5 6
  const std::vector<int> parents = {-1, 0, 1, 1, 0, 4, 4};
  const std::vector<float> scores = {0, 1, 9, 9, 2, -7, -8};
  CHECK(descend(parents, scores, {.children = 1}) == (std::vector<int>{0, 4, 5}));
  CHECK(descend(parents, scores, {.children = 1, .most_depth = 1}) == (std::vector<int>{0, 4}));
  CHECK(descend(parents, scores, {.children = 1, .leaves_only = true}) == (std::vector<int>{5}));
  CHECK(descend(parents, scores, {.children = 1}, std::vector<int>{3}) == (std::vector<int>{0, 1, 4, 3, 5}) ||
        descend(parents, scores, {.children = 1}, std::vector<int>{3}) == (std::vector<int>{0, 1, 4, 2, 3, 5}));
}

TEST(levels_grow_by_no_more_than_the_children_that_are_kept) {
  std::mt19937 random(2);
  for (int k : {1, 2, 3, 5}) {
    const auto parents = random_tree(200, random);
    const auto nodes = descend(parents, random_scores(200, random), {.children = k, .most_nodes = 1000});
    std::vector<int> per_level;
    for (const int node : nodes) {
      const auto depth = static_cast<size_t>(depth_of(parents, node));
      if (per_level.size() <= depth) per_level.resize(depth + 1);
      ++per_level[depth];
      if (node != 0) CHECK(has(nodes, parents[static_cast<size_t>(node)]));
    }
    CHECK_EQ(per_level[0], 1);
    for (size_t i = 1; i < per_level.size(); ++i) CHECK(per_level[i] <= k * per_level[i - 1]);
  }
}

TEST(a_budget_leaves_out_the_unlikeliest_paths_and_never_an_ancestor_of_what_stays) {
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    const auto parents = random_tree(100, random);
    const auto scores = random_scores(100, random);
    const std::vector<int> wanted = {57, 99};
    const auto all = descend(parents, scores, {.children = 3, .most_nodes = 1000}, wanted);
    const auto few = descend(parents, scores, {.children = 3, .most_nodes = 15}, wanted);
    CHECK(few.size() >= std::min<size_t>(all.size(), 15));
    for (const int node : few) {
      CHECK(has(all, node));
      if (node != 0) CHECK(has(few, parents[static_cast<size_t>(node)]));
    }
    for (const int node : wanted) CHECK(has(few, node));
    const size_t unbound = descend(parents, scores, {.children = 3, .most_nodes = 1000}).size();
    CHECK_EQ(descend(parents, scores, {.children = 3, .most_nodes = 5}).size(), std::min<size_t>(unbound, 5));
  }
}

TEST(among_equals_the_first_in_reading_order_is_kept_and_order_does_not_hang_on_scores) {
  const std::vector<int> parents = {-1, 0, 0, 0, 0};
  CHECK(descend(parents, std::vector<float>{0, 1, 1, 1, 1}, {.children = 2}) == (std::vector<int>{0, 1, 2}));
  CHECK(descend(parents, std::vector<float>{0, 1, 5, 2, 9}, {.children = 2}) == (std::vector<int>{0, 2, 4}));
  CHECK(descend(std::vector<int>{-1}, std::vector<float>{0}, {}) == (std::vector<int>{0}));
}

TEST(no_more_nodes_are_reached_than_is_said_beforehand) {
  std::mt19937 random(4);
  for (int i = 0; i < 300; ++i) {
    const auto parents = random_tree(80, random);
    const DescentOptions options{.children = 1 + static_cast<int>(random() % 3),
                                 .most_nodes = 1 + static_cast<int>(random() % 40)};
    std::vector<int> wanted(random() % 4);
    for (int& node : wanted) node = static_cast<int>(random() % 80);
    const size_t most = most_reached(parents, options, wanted.size());
    CHECK(descend(parents, random_scores(80, random), options, wanted).size() <= most);
    CHECK(most <= 80);
  }
  const std::vector<int> chain = {-1, 0, 1, 2};
  CHECK_EQ(most_reached(chain, {.children = 9}), size_t{4});
  CHECK_EQ(most_reached(chain, {.children = 9, .most_nodes = 2}), size_t{2});
}

TEST(scores_are_asked_for_only_of_children_of_what_was_reached) {
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const auto parents = random_tree(100, random);
    const auto scores = random_scores(100, random);
    std::vector<int> asked;
    const NodeScore score = [&](int node) { return asked.push_back(node), scores[static_cast<size_t>(node)]; };
    const DescentOptions options{.children = 2, .most_nodes = 1000};
    const auto nodes = descend(parents, children_of(parents), score, options);
    CHECK(nodes == descend(parents, scores, options));
    std::sort(asked.begin(), asked.end());
    CHECK(std::adjacent_find(asked.begin(), asked.end()) == asked.end());
    for (const int node : asked) CHECK(has(nodes, parents[static_cast<size_t>(node)]));
  }
}
