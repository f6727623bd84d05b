#include "app/meaning.h"

#include "ingest/library/node_vectors.h"

namespace longleaf {

namespace {
constexpr size_t kKeptTogether = 64;  // vectors in one transaction: about a second's work
}

Result<const NodeMemory*> Meaning::read(const DocumentInput& document, const Progress& progress, std::stop_token stop) {
  if (document_ == document.id && document_key_ == document.key) return &memory_;
  LL_ASSIGN_OR_RETURN(NodeVectors leaves, leaf_vectors(library_, document.key, embedder_.fingerprint()));
  LL_RETURN_IF_ERROR(add_missing(document, leaves, progress, std::move(stop)));
  std::erase_if(leaves, [](const auto& leaf) { return leaf.second.empty(); });
  memory_ = make_node_memory(document.nodes, leaves, /*centre=*/false);
  document_ = document.id;
  document_key_ = document.key;
  return &memory_;
}

Status Meaning::add_missing(const DocumentInput& document, NodeVectors& leaves, const Progress& progress,
                            std::stop_token stop) {
  size_t n_leaves = 0;
  for (const DocumentNode& node : document.nodes) n_leaves += node.is_leaf ? 1 : 0;
  std::vector<std::pair<int64_t, std::vector<float>>> made;
  Status status;
  for (const DocumentNode& node : document.nodes) {
    if (!node.is_leaf || leaves.count(node.key) != 0) continue;
    auto vector = embedder_.embed(node.text, TextRole::Passage, stop);
    if (!vector.ok()) {
      status = vector.status();
      break;
    }
    made.push_back({node.key, *vector});
    leaves[node.key] = std::move(*vector);
    if (progress) progress(leaves.size(), n_leaves);
    if (made.size() < kKeptTogether) continue;
    LL_RETURN_IF_ERROR(add_leaf_vectors(library_, embedder_.fingerprint(), made));
    made.clear();
  }
  LL_RETURN_IF_ERROR(add_leaf_vectors(library_, embedder_.fingerprint(), made));
  return status;
}

Result<std::vector<float>> Meaning::question(const std::string& text, const NodeMemory& memory, std::stop_token stop) {
  if (memory.nodes.empty()) return std::vector<float>{};
  LL_ASSIGN_OR_RETURN(auto vector, embedder_.embed(text, TextRole::Question, std::move(stop)));
  return centred(std::move(vector), memory.mean);
}

}  // namespace longleaf
