#include "ingest/library/node_vectors.h"

#include <cstring>

namespace longleaf {

Result<std::unordered_map<int64_t, std::vector<float>>> leaf_vectors(Library& library, int64_t document,
                                                                     uint64_t model) {
  std::unordered_map<int64_t, std::vector<float>> all;
  LL_RETURN_IF_ERROR(library.database().query(
      "SELECT v.node, v.vector FROM node_vectors v JOIN nodes n ON n.key = v.node WHERE n.document = ? AND v.model = ?",
      {document, static_cast<int64_t>(model)}, [&](const Row& row) {
        const std::string_view bytes = row.text(1);
        auto& vector = all[row.integer(0)];
        vector.resize(bytes.size() / sizeof(float));
        if (!vector.empty()) std::memcpy(vector.data(), bytes.data(), vector.size() * sizeof(float));
        return true;
      }));
  return all;
}

Status add_leaf_vectors(Library& library, uint64_t model,
                        const std::vector<std::pair<int64_t, std::vector<float>>>& vectors) {
  if (vectors.empty()) return {};
  Database& db = library.database();
  return db.transaction([&]() -> Status {
    for (const auto& [node, vector] : vectors) {
      const std::string_view bytes(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
      LL_RETURN_IF_ERROR(db.run("INSERT OR REPLACE INTO node_vectors VALUES (?, ?, ?)",
                                {node, static_cast<int64_t>(model), Blob{bytes}}));
    }
    return {};
  });
}

}  // namespace longleaf
