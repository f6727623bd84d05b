// What a document's leaves mean, by an embedding model: their vectors are made once and kept in the library.
// Not thread-safe: uses a Library and an Embedder of the calling thread.
#pragma once

#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "engine/embedding/embedder.h"
#include "engine/memory/node_vectors.h"
#include "ingest/library/library.h"

namespace longleaf {

class Meaning {
 public:
  using Progress = std::function<void(size_t leaves_done, size_t leaves)>;

  Meaning(Library& library, Embedder& embedder) : library_(library), embedder_(embedder) {}

  // Node memories of the document; leaves that have no vector yet get one first. Cancelled keeps what is done, as does
  // Invalid, when the document was made anew meanwhile.
  Result<const NodeMemory*> read(const DocumentInput& document, const Progress& progress, std::stop_token stop);
  // Comparable with them.
  Result<std::vector<float>> question(const std::string& text, const NodeMemory& memory, std::stop_token stop);

 private:
  Status keep(const DocumentInput& document, const std::string& state,
              std::vector<std::pair<int64_t, std::vector<float>>>& made);
  Status add_missing(const DocumentInput& document, const std::string& state, NodeVectors& leaves,
                     const Progress& progress, std::stop_token stop);
  Library& library_;
  Embedder& embedder_;
  std::string document_;  // that `memory_` is of
  int64_t document_key_ = 0;
  std::string state_;  // of its text, as Library::text_state has it
  NodeMemory memory_;
};

}  // namespace longleaf
