#include "engine/memory/node_vectors.h"

#include <algorithm>
#include <cmath>

namespace longleaf {
namespace {

void normalise(std::vector<float>& v) {
  double squares = 0;
  for (float x : v) squares += double{x} * double{x};
  if (squares <= 0) return;
  const auto inverse = static_cast<float>(1.0 / std::sqrt(squares));
  for (float& x : v) x *= inverse;
}

}  // namespace

std::vector<float> centred(std::vector<float> vector, const std::vector<float>& mean) {
  for (size_t i = 0; i < vector.size(); ++i) vector[i] -= mean[i];
  normalise(vector);
  return vector;
}

NodeMemory make_node_memory(const std::vector<DocumentNode>& nodes, const NodeVectors& leaves, bool centre) {
  NodeMemory memory;
  if (leaves.empty()) return memory;
  memory.mean.assign(leaves.begin()->second.size(), 0.0f);
  if (centre && leaves.size() > 1)  // of one alone, nothing would be left
    for (const auto& [key, vector] : leaves)
      for (size_t i = 0; i < vector.size(); ++i) memory.mean[i] += vector[i] / static_cast<float>(leaves.size());

  for (size_t i = nodes.size(); i-- > 0;) {  // children come behind their parents
    const DocumentNode& node = nodes[i];
    const auto own = leaves.find(node.key);
    if (own != leaves.end()) memory.nodes[node.key] = centred(own->second, memory.mean);
    const auto done = memory.nodes.find(node.key);
    if (done == memory.nodes.end()) continue;
    if (own == leaves.end()) normalise(done->second);
    if (node.parent == 0) continue;
    const std::vector<float> vector = done->second;
    auto& parent = memory.nodes[node.parent];
    parent.resize(vector.size(), 0.0f);
    const auto weight = static_cast<float>(std::log1p(std::max(1, node.tokens)));
    for (size_t d = 0; d < vector.size(); ++d) parent[d] += weight * vector[d];
  }
  return memory;
}

}  // namespace longleaf
