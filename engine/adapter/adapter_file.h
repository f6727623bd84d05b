// An adapter: what was trained beside a model, in one GGUF file that says which model it belongs to. Low-rank additions
// of dense models have the names that llama.cpp gives them; the parts of the learned memory begin with the name of its
// method and a point.
// Immutable; const methods: any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/model_file.h"

namespace longleaf {

// How a parent's memory is made of its children's (H²MT, arXiv 2605.24930, appendix B). None depends on their order.
enum class Aggregation {
  Mean,
  SelfWeights,     // how much attention each gets from the others
  CrossAttention,  // … from the parent
  Graph,           // graph attention with a value projection; begins as the mean
  ParentToken,     // a learned token attends to them
};
const char* name_of(Aggregation aggregation);
Result<Aggregation> aggregation_named(std::string_view name);

// What stands for a document.
enum class MemoryMethod {
  Tree,       // a vector per node of its tree: H²MT, arXiv 2605.24930
  Recurrent,  // … per segment of its text, read one after another: HMT, arXiv 2405.06067
};
const char* name_of(MemoryMethod method);
Result<MemoryMethod> memory_method_named(std::string_view name);

struct MemorySettings {
  Aggregation aggregation = Aggregation::Graph;
  int d_routing = 0;         // width of projections; 0: d_model, 1024 at most
  float query_fraction = 1;  // of a question's tokens that its vector is made of, from the first; the paper's is 0.5
  bool scales = false;       // memories enter the model in the size of its embeddings
  uint64_t seed = 1;         // of what training begins with
  MemoryMethod method = MemoryMethod::Tree;
  int piece_tokens = 0;  // of a text, at most, that one memory is of (see text_tree); 0: what the model reads at once
  int children = 4;      // of a node, that a question went on to in training
  // Of the recurrent one; those above are of both, but for the aggregation, pieces and children.
  int segment_tokens = 256;
  int sensory_tokens = 32;  // of the text in front of a segment, that are read with it
  int recalled = 300;       // memories that a segment looks back at, the last ones
};

// A matrix of an adapter; vectors have one row.
struct AdapterTensor {
  std::string name;
  int rows = 0, cols = 0;
  std::vector<float> values;
};

struct AdapterContents {
  std::string model_title;         // of the model it belongs to, for people
  std::string architecture;        // … general.architecture
  uint64_t model_fingerprint = 0;  // … as fingerprint_of its file
  float lora_alpha = 0;
  int lora_rank = 0;  // 0: no low-rank additions
  MemorySettings memory;
  std::vector<AdapterTensor> tensors;
};

// Returns Io.
Status save_adapter(const std::filesystem::path& path, const AdapterContents& contents);

// Whether the file says that it is an adapter; what kind, and whose, load_adapter finds out.
bool is_adapter(const std::filesystem::path& path);

// Reads an adapter and checks that it belongs to `model`, whose fingerprint is given.
// Returns NotFound, Io, Corrupt; Unsupported for a file that is no adapter of ours; Invalid when it belongs to another
// model.
Result<AdapterContents> load_adapter(const std::filesystem::path& path, const ModelFile& model, uint64_t fingerprint);

}  // namespace longleaf
