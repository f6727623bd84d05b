#include "engine/routing/router.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

namespace longleaf {
namespace {

constexpr double kRrf = 60;            // the constant of the paper
constexpr double kVectorWeight = 0.1;  // words tell more: on MMLongBench-Doc, all-MiniLM-L6-v2 with a weight of 1 cost
                                       // 0.05 of recall at 10, with 0.3 0.02, with 0.1 nothing
constexpr double kFromParent = 0.003;  // share of its section's worth that a leaf is lent: breaks ties, no more (0.25
                                       // cost 0.30 of recall at 5 on MMLongBench-Doc)
constexpr double kOwn = 0.5, kParent = 0.3, kAncestor = 0.2;  // a descent's score (specification f)

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// Score per node index. A node that neither list knows has 0.
class Scores {
 public:
  explicit Scores(const RouteInput& input) : nodes_(*input.nodes), scores_(nodes_.size(), 0.0) {
    for (size_t i = 0; i < nodes_.size(); ++i) index_[nodes_[i].key] = i;
    add_ranks(by_words(input), 1.0);
    if (input.vectors != nullptr && !input.question.empty()) add_ranks(by_vectors(input), kVectorWeight);
    lend();
  }
  double operator[](size_t i) const { return scores_[i]; }
  size_t index(int64_t key) const { return index_.at(key); }
  bool has_parent(size_t i) const { return nodes_[i].parent != 0; }
  size_t parent(size_t i) const { return index_.at(nodes_[i].parent); }

 private:
  using Ranked = std::vector<std::pair<double, size_t>>;

  // Leaves by their words.
  Ranked by_words(const RouteInput& input) const {
    Ranked ranked;
    for (const auto& [key, score] : input.lexical)
      if (const auto it = index_.find(key); it != index_.end()) ranked.push_back({score, it->second});
    return ranked;
  }

  Ranked by_vectors(const RouteInput& input) const {
    Ranked ranked;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const auto it = input.vectors->find(nodes_[i].key);
      if (!nodes_[i].is_leaf || it == input.vectors->end()) continue;
      const double nearness = dot(it->second, input.question);
      if (std::isfinite(nearness)) ranked.push_back({nearness, i});  // what is no number has no rank
    }
    return ranked;
  }

  void add_ranks(Ranked ranked, double weight) {
    std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    for (size_t r = 0; r < ranked.size(); ++r)
      scores_[ranked[r].second] += weight / (kRrf + static_cast<double>(r) + 1);
  }

  // A section is worth its three best children together; then every leaf is lent a share of its section's worth, so
  // that of two equal leaves the one in the better section comes first.
  void lend() {
    std::vector<std::array<double, 3>> best(nodes_.size(), {0, 0, 0});
    for (size_t i = nodes_.size(); i-- > 0;) {
      if (!nodes_[i].is_leaf) scores_[i] = best[i][0] + best[i][1] + best[i][2];
      if (!has_parent(i)) continue;
      auto& siblings = best[parent(i)];
      if (scores_[i] > siblings[2]) siblings[2] = scores_[i];
      std::sort(siblings.rbegin(), siblings.rend());
    }
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (nodes_[i].is_leaf && scores_[i] > 0 && has_parent(i)) scores_[i] += kFromParent * scores_[parent(i)];
  }

  const std::vector<DocumentNode>& nodes_;
  std::vector<double> scores_;
  std::unordered_map<int64_t, size_t> index_;
};

void sort_best_first(std::vector<RoutedNode>& leaves) {
  std::stable_sort(leaves.begin(), leaves.end(),
                   [](const RoutedNode& a, const RoutedNode& b) { return a.score > b.score; });
}

Route flat(const std::vector<DocumentNode>& nodes, const Scores& scores) {
  Route route;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const RoutedNode visited{nodes[i].key, nodes[i].parent, scores[i], scores[i] > 0};
    route.trace.push_back(visited);
    if (nodes[i].is_leaf && visited.kept) route.leaves.push_back(visited);
  }
  sort_best_first(route.leaves);
  return route;
}

class Descent {
 public:
  Descent(const std::vector<DocumentNode>& nodes, const Scores& scores, const RouteOptions& options)
      : nodes_(nodes),
        scores_(scores),
        options_(options),
        leaves_below_(nodes.size(), 0),
        children_(nodes.size()),
        best_above_(nodes.size(), 0.0),
        visited_(nodes.size()),
        kept_(nodes.size()) {
    for (size_t i = nodes.size(); i-- > 0;) {
      leaves_below_[i] += nodes[i].is_leaf ? 1 : 0;
      if (scores.has_parent(i)) leaves_below_[scores.parent(i)] += leaves_below_[i];
    }
    for (size_t i = 0; i < nodes.size(); ++i)
      if (scores.has_parent(i)) children_[scores.parent(i)].push_back(i);
  }

  Route run() {
    std::vector<size_t> frontier;
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (!scores_.has_parent(i)) frontier.push_back(i), visited_[i] = kept_[i] = true;
    Route route;
    while (!frontier.empty()) {
      std::vector<size_t> next;
      for (size_t i : frontier) {
        if (nodes_[i].is_leaf && scores_[i] > 0)
          route.leaves.push_back({nodes_[i].key, nodes_[i].parent, scores_[i], true});
        next.insert(next.end(), children_[i].begin(), children_[i].end());
      }
      frontier = keep_best(std::move(next));
    }
    for (size_t i = 0; i < nodes_.size(); ++i)
      if (visited_[i]) route.trace.push_back({nodes_[i].key, nodes_[i].parent, score(i), kept_[i]});
    sort_best_first(route.leaves);
    return route;
  }

 private:
  // Decides what survives a level; the leaves that survive are ranked by their own score.
  double score(size_t i) const {
    if (!scores_.has_parent(i)) return scores_[i];
    return kOwn * scores_[i] + kParent * scores_[scores_.parent(i)] + kAncestor * best_above_[i];
  }

  std::vector<size_t> keep_best(std::vector<size_t> level) {
    for (size_t i : level) {
      visited_[i] = true;
      best_above_[i] = std::max(best_above_[scores_.parent(i)], scores_[scores_.parent(i)]);
    }
    std::stable_sort(level.begin(), level.end(), [this](size_t a, size_t b) { return score(a) > score(b); });
    std::vector<size_t> kept;
    int reach = 0;
    for (size_t i : level) {
      if (static_cast<int>(kept.size()) >= options_.beam && reach >= options_.least_leaves) break;
      kept.push_back(i);
      reach += leaves_below_[i];
      kept_[i] = true;
    }
    return kept;
  }

  const std::vector<DocumentNode>& nodes_;
  const Scores& scores_;
  RouteOptions options_;
  std::vector<int> leaves_below_;
  std::vector<std::vector<size_t>> children_;
  std::vector<double> best_above_;
  std::vector<bool> visited_, kept_;
};

}  // namespace

Route route(const RouteInput& input, const RouteOptions& options) {
  const Scores scores(input);
  if (options.method == RouteMethod::Descent) return Descent(*input.nodes, scores, options).run();
  return flat(*input.nodes, scores);
}

void mark_kept(Route& route, const std::vector<DocumentNode>& nodes, const std::vector<int64_t>& leaves) {
  std::unordered_set<int64_t> kept(leaves.begin(), leaves.end());
  for (size_t i = nodes.size(); i-- > 0;)
    if (kept.count(nodes[i].key) != 0 && nodes[i].parent != 0) kept.insert(nodes[i].parent);
  for (RoutedNode& visited : route.trace) visited.kept = kept.count(visited.node) != 0;
}

}  // namespace longleaf
