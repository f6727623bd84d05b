#include "engine/routing/descent.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace longleaf {
namespace {

struct Reached {
  int node;
  double share;  // log of the product of the shares of its path
};

// log of the shares that a softmax over the scores of siblings gives them.
std::vector<double> log_shares(const std::vector<int>& siblings, const NodeScore& score) {
  std::vector<double> shares;
  for (const int node : siblings) shares.push_back(double{score(node)});
  const double top = *std::max_element(shares.begin(), shares.end());
  double total = 0;
  for (const double share : shares) total += std::exp(share - top);
  for (double& share : shares) share -= top + std::log(total);
  return shares;
}

// The nodes that must be reached: those that are wanted, and their ancestors.
std::vector<bool> with_ancestors(std::span<const int> parents, std::span<const int> wanted) {
  std::vector<bool> all(parents.size(), false);
  for (int node : wanted)
    for (; node >= 0 && !all[static_cast<size_t>(node)]; node = parents[static_cast<size_t>(node)])
      all[static_cast<size_t>(node)] = true;
  return all;
}

// Of the children of one node, the best, and those that are wanted.
void take_best(const Reached& parent, const std::vector<int>& children, const NodeScore& score,
               const DescentOptions& options, const std::vector<bool>& wanted, std::vector<Reached>& next) {
  const std::vector<double> shares = log_shares(children, score);
  std::vector<size_t> order(children.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return shares[a] > shares[b]; });
  std::vector<bool> taken(children.size(), false);
  for (size_t i = 0; i < order.size(); ++i)
    taken[order[i]] = static_cast<int>(i) < options.children || wanted[static_cast<size_t>(children[order[i]])];
  for (size_t i = 0; i < children.size(); ++i)
    if (taken[i]) next.push_back({children[i], parent.share + shares[i]});
}

// An ancestor's share is never below its descendants', so what is left is still a tree.
void leave_out_unlikeliest(std::vector<Reached>& reached, const DescentOptions& options,
                           const std::vector<bool>& wanted) {
  const auto most = static_cast<size_t>(std::max(1, options.most_nodes));
  if (reached.size() <= most) return;
  std::vector<size_t> order(reached.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto must = [&](size_t i) { return wanted[static_cast<size_t>(reached[i].node)]; };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return must(a) != must(b) ? must(a) : reached[a].share > reached[b].share;
  });
  std::vector<bool> kept(reached.size(), false);
  for (size_t i = 0; i < order.size(); ++i) kept[order[i]] = i < most || must(order[i]);
  std::vector<Reached> left;
  for (size_t i = 0; i < reached.size(); ++i)
    if (kept[i]) left.push_back(reached[i]);
  reached = std::move(left);
}

}  // namespace

size_t most_reached(std::span<const int> parents, const DescentOptions& options, size_t n_wanted) {
  std::vector<size_t> levels, depths(parents.size(), 0);  // nodes of every level; the level of every node
  for (size_t i = 0; i < parents.size(); ++i) {
    if (parents[i] >= 0) depths[i] = depths[static_cast<size_t>(parents[i])] + 1;
    if (levels.size() <= depths[i]) levels.resize(depths[i] + 1);
    ++levels[depths[i]];
  }
  size_t level = 1, all = 0;
  for (const size_t n : levels) {
    level = std::min(level, n);
    all += level;
    level = level * static_cast<size_t>(options.children) + n_wanted;
  }
  // What is wanted stays even where there is no room.
  const auto room = static_cast<size_t>(std::max(1, options.most_nodes));
  return std::min(all, std::max(room, n_wanted * levels.size() + 1));
}

std::vector<std::vector<int>> children_of(std::span<const int> parents) {
  std::vector<std::vector<int>> children(parents.size());
  for (size_t i = 0; i < parents.size(); ++i)
    if (parents[i] >= 0) children[static_cast<size_t>(parents[i])].push_back(static_cast<int>(i));
  return children;
}

std::vector<int> descend(std::span<const int> parents, std::span<const float> scores, const DescentOptions& options,
                         std::span<const int> wanted, std::vector<double>* shares) {
  assert(scores.size() == parents.size());
  const NodeScore score = [scores](int node) { return scores[static_cast<size_t>(node)]; };
  return descend(parents, children_of(parents), score, options, wanted, shares);
}

std::vector<int> descend(std::span<const int> parents, const std::vector<std::vector<int>>& children,
                         const NodeScore& score, const DescentOptions& options, std::span<const int> wanted,
                         std::vector<double>* shares) {
  assert(!parents.empty() && parents[0] == -1 && children.size() == parents.size());
  const std::vector<bool> must = with_ancestors(parents, wanted);
  std::vector<Reached> reached = {{0, 0.0}}, level = reached;
  for (int depth = 1; !level.empty() && (options.most_depth == 0 || depth <= options.most_depth); ++depth) {
    std::vector<Reached> next;
    for (const Reached& parent : level) {
      const auto& own = children[static_cast<size_t>(parent.node)];
      if (!own.empty()) take_best(parent, own, score, options, must, next);
    }
    std::sort(next.begin(), next.end(), [](const Reached& a, const Reached& b) { return a.node < b.node; });
    reached.insert(reached.end(), next.begin(), next.end());
    level = std::move(next);
  }
  leave_out_unlikeliest(reached, options, must);
  std::vector<int> nodes;
  for (const Reached& r : reached) {
    if (options.leaves_only && !children[static_cast<size_t>(r.node)].empty()) continue;
    nodes.push_back(r.node);
    if (shares != nullptr) shares->push_back(r.share);
  }
  return nodes;
}

}  // namespace longleaf
