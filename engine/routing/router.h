// Which leaves a question reaches. Two ways, both with a trace: a flat scan of every leaf, and a coarse-to-fine descent
// with a beam. Lexical scores and node memories are fused; either may be missing. Pure functions: any thread.
// Specification: tree-structured document retrieval (f); reciprocal rank fusion: Cormack et al., SIGIR 2009.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/memory/node_vectors.h"

namespace longleaf {

enum class RouteMethod { Flat, Descent };

struct RouteInput {
  const std::vector<DocumentNode>* nodes = nullptr;  // parents before children
  std::unordered_map<int64_t, double> lexical;       // leaf key → score; larger is better; absent: no word in common
  const NodeVectors* vectors = nullptr;              // node memories, or nullptr
  std::vector<float> question;                       // centred question vector; empty without a model
};

struct RouteOptions {
  RouteMethod method = RouteMethod::Flat;
  int beam = 8;           // nodes kept per level of a descent, at least
  int least_leaves = 64;  // a descent never cuts a level's reach below this many leaves
};

struct RoutedNode {
  int64_t node = 0, parent = 0;
  double score = 0;
  bool kept = false;
};

struct Route {
  std::vector<RoutedNode> leaves;  // best first, only those with a score; kept for all
  std::vector<RoutedNode> trace;   // every node that was looked at, in reading order
};

Route route(const RouteInput& input, const RouteOptions& options);

// Marks as kept in the trace exactly the chosen leaves and their ancestors.
void mark_kept(Route& route, const std::vector<DocumentNode>& nodes, const std::vector<int64_t>& leaves);

}  // namespace longleaf
