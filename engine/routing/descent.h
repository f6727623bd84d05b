// Routing by learned scores, as H²MT does it (arXiv 2605.24930, section 3.3): from the root, the best few children of
// every node that was reached. Pure functions: any thread.
#pragma once

#include <functional>
#include <span>
#include <vector>

namespace longleaf {

struct DescentOptions {
  int children = 4;      // kept per parent
  int most_depth = 0;    // levels below the root; 0: all
  int most_nodes = 256;  // that are reached; the unlikeliest are left out, by the product of their path's shares
  bool leaves_only = false;
};

// Nodes that are reached: level by level, in reading order within a level, the root first.
//   parents  of every node, -1 for the root, which is node 0; parents before children, in reading order
//   scores   of every node for the question, comparable among the children of one parent
//   wanted   nodes that are reached whatever their score, with their ancestors (in training, the gold ones); may be
//   empty
//   shares   gets, of every node that is returned, the log of the product of the shares of its path: comparable among all
std::vector<int> descend(std::span<const int> parents, std::span<const float> scores, const DescentOptions& options,
                         std::span<const int> wanted = {}, std::vector<double>* shares = nullptr);

// The most nodes that `descend` can return for a tree, of which `n_wanted` are wanted, whatever their scores.
size_t most_reached(std::span<const int> parents, const DescentOptions& options, size_t n_wanted = 0);

// Children of every node, in reading order.
std::vector<std::vector<int>> children_of(std::span<const int> parents);

// The same of a tree whose children are known. Scores are asked for only of children of nodes that are reached, once.
using NodeScore = std::function<float(int node)>;
std::vector<int> descend(std::span<const int> parents, const std::vector<std::vector<int>>& children,
                         const NodeScore& score, const DescentOptions& options, std::span<const int> wanted = {},
                         std::vector<double>* shares = nullptr);

}  // namespace longleaf
