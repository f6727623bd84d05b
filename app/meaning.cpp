#include "app/meaning.h"

#include <algorithm>

#include "ingest/library/node_vectors.h"

namespace longleaf {

namespace {
constexpr size_t kKeptTogether = 64;  // vectors in one transaction: about a second's work

bool is_zero(const std::vector<float>& vector) {
  return std::all_of(vector.begin(), vector.end(), [](float x) { return x == 0; });
}
}  // namespace

Result<const NodeMemory*> Meaning::read(const DocumentInput& document, const Progress& progress, std::stop_token stop) {
  LL_ASSIGN_OR_RETURN(const std::string state, library_.text_state(document.key));
  if (document_ == document.id && document_key_ == document.key && state_ == state) return &memory_;
  LL_ASSIGN_OR_RETURN(NodeVectors leaves, leaf_vectors(library_, document.key, embedder_.fingerprint()));
  const auto width = static_cast<size_t>(embedder_.facts().d_model);
  std::erase_if(leaves, [width](const auto& leaf) { return leaf.second.size() != width; });
  LL_RETURN_IF_ERROR(add_missing(document, state, leaves, progress, std::move(stop)));
  std::erase_if(leaves, [](const auto& leaf) { return is_zero(leaf.second); });  // texts without tokens
  memory_ = make_node_memory(document.nodes, leaves, /*centre=*/false);
  document_ = document.id;
  document_key_ = document.key;
  state_ = state;
  return &memory_;
}

// Keys of leaves are given again once leaves are gone: vectors of an old text must not be kept for a new one.
Status Meaning::keep(const DocumentInput& document, const std::string& state,
                     std::vector<std::pair<int64_t, std::vector<float>>>& made) {
  LL_ASSIGN_OR_RETURN(const std::string now, library_.text_state(document.key));
  if (now != state)
    return Status(Code::Invalid, "“" + document.title + "” was read anew while its meaning was looked at; ask again");
  LL_RETURN_IF_ERROR(add_leaf_vectors(library_, embedder_.fingerprint(), made));
  made.clear();
  return {};
}

Status Meaning::add_missing(const DocumentInput& document, const std::string& state, NodeVectors& leaves,
                            const Progress& progress, std::stop_token stop) {
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
    LL_RETURN_IF_ERROR(keep(document, state, made));
  }
  LL_RETURN_IF_ERROR(keep(document, state, made));
  return status;
}

Result<std::vector<float>> Meaning::question(const std::string& text, const NodeMemory& memory, std::stop_token stop) {
  if (memory.nodes.empty()) return std::vector<float>{};
  LL_ASSIGN_OR_RETURN(auto vector, embedder_.embed(text, TextRole::Question, std::move(stop)));
  if (is_zero(vector)) return std::vector<float>{};
  return centred(std::move(vector), memory.mean);
}

}  // namespace longleaf
