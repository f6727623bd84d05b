// A document as the engine is handed it: plain values from whoever keeps the library.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace longleaf {

struct DocumentNode {
  int64_t key = 0;
  int64_t parent = 0;  // 0: none
  bool is_leaf = false;
  int tokens = 0;    // an estimate, for weights
  std::string text;  // of a leaf, as the model shall read it
};

struct DocumentInput {
  std::string id;   // of the bytes it was read from
  int64_t key = 0;  // of this reading: node keys are valid for it alone
  std::string title;
  std::vector<DocumentNode> nodes;  // parents before children, reading order
};

}  // namespace longleaf
