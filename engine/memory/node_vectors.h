// Node memories of a whole tree: leaves from the reading pass with the document's mean removed, parents as weighted
// means, children first. Pure functions: any thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "engine/memory/document.h"

namespace longleaf {

using NodeVectors = std::unordered_map<int64_t, std::vector<float>>;  // by node key, unit length

struct NodeMemory {
  NodeVectors nodes;
  std::vector<float> mean;  // that was removed; a question's vector needs it too
};

// leaves  pooled hidden states by node key, all of one length. Nodes whose subtree has none get no memory.
// centre: remove the mean of all leaves, which the hidden states of a language model share; else `mean` is zero.
// A parent is the mean of its children weighted by log(1 + tokens), normalised.
NodeMemory make_node_memory(const std::vector<DocumentNode>& nodes, const NodeVectors& leaves, bool centre = true);

// Removes `mean` and normalises: comparable with node memories by a dot product.
std::vector<float> centred(std::vector<float> vector, const std::vector<float>& mean);

}  // namespace longleaf
