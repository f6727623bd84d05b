#include "engine/adapter/adapter_file.h"

#include <algorithm>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "engine/model/gguf_writer.h"

namespace longleaf {
namespace {

template <typename Value>
struct Name {
  Value value;
  const char* text;
};
constexpr Name<Aggregation> kAggregations[] = {{Aggregation::Mean, "mean"},
                                               {Aggregation::SelfWeights, "self_weights"},
                                               {Aggregation::CrossAttention, "cross_attention"},
                                               {Aggregation::Graph, "graph"},
                                               {Aggregation::ParentToken, "parent_token"}};
constexpr Name<MemoryMethod> kMethods[] = {{MemoryMethod::Tree, "h2mt"}, {MemoryMethod::Recurrent, "hmt"}};

constexpr int kMostRank = 4096, kMostRouting = 65536, kMostTokens = 1 << 20, kMostChildren = 1000;

template <typename Names, typename Value>
const char* text_of(const Names& names, Value value) {
  return std::find_if(std::begin(names), std::end(names), [&](const auto& n) { return n.value == value; })->text;
}

std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

Status no_adapter(const std::filesystem::path& path, const std::string& why) {
  return Status(Code::Unsupported, "The file " + path.string() + " is not an adapter of this program (" + why + ")");
}

Status damaged(const std::string& name, const std::string& what) {
  return Status(Code::Corrupt,
                "The adapter " + name + " is damaged or incomplete (" + what + "); train it again, or choose another");
}

Result<AdapterTensor> read_tensor(const std::string& file, std::string_view name, const Tensor& tensor) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const auto& shape = tensor.shape;
  const bool plain = tensor.type == kernels::DType::F32 && (shape.size() == 1 || shape.size() == 2) && shape[0] > 0 &&
                     shape[0] <= kMost && (shape.size() == 1 || (shape[1] > 0 && shape[1] <= kMost));
  if (!plain) return damaged(file, "the tensor " + std::string(name) + " is not a matrix of F32");
  AdapterTensor t;
  t.name = name;
  t.cols = static_cast<int>(shape[0]);
  t.rows = shape.size() == 2 ? static_cast<int>(shape[1]) : 1;
  t.values.resize(tensor.data.size() / 4);
  std::memcpy(t.values.data(), tensor.data.data(), t.values.size() * 4);
  if (!std::all_of(t.values.begin(), t.values.end(), [](float x) { return std::isfinite(x); }))
    return damaged(file, "the tensor " + t.name + " has values that are not numbers");
  return t;
}

Status read_settings(const ModelFile& file, MemorySettings& memory) {
  const std::string prefix = std::string(name_of(memory.method)) + ".";
  const auto whole = [&](const char* key, int64_t least, int64_t most, int& to) {
    const int64_t value = file.integer_or(prefix + key, 0);
    to = static_cast<int>(std::clamp<int64_t>(value, 0, most));
    return value >= least && value <= most;
  };
  if (!whole("routing_length", 0, kMostRouting, memory.d_routing)) return damaged(file.name(), "impossible widths");
  memory.query_fraction = static_cast<float>(file.number_or(prefix + "query_fraction", 1));
  if (!(memory.query_fraction > 0 && memory.query_fraction <= 1))
    return damaged(file.name(), "an impossible share of the question");
  memory.scales = file.flag_or(prefix + "scales_memories", false);
  if (memory.method == MemoryMethod::Recurrent) {
    const bool possible = whole("segment_length", 1, kMostTokens, memory.segment_tokens) &&
                          whole("sensory_length", 0, kMostTokens, memory.sensory_tokens) &&
                          whole("recall_length", 1, kMostTokens, memory.recalled);
    return possible ? Status() : damaged(file.name(), "impossible lengths of segments");
  }
  const auto aggregation = aggregation_named(file.text_or(prefix + "aggregation", ""));
  if (!aggregation.ok()) return damaged(file.name(), "it does not say how memories are made of others");
  if (!whole("piece_length", 0, kMostTokens, memory.piece_tokens))
    return damaged(file.name(), "impossible lengths of pieces");
  const int64_t children = file.integer_or(prefix + "children", memory.children);
  if (children < 1 || children > kMostChildren)
    return damaged(file.name(), "an impossible number of sections that questions go on to");
  memory.children = static_cast<int>(children);
  memory.aggregation = *aggregation;
  return {};
}

}  // namespace

const char* name_of(Aggregation aggregation) { return text_of(kAggregations, aggregation); }

const char* name_of(MemoryMethod method) { return text_of(kMethods, method); }

Result<MemoryMethod> memory_method_named(std::string_view name) {
  for (const auto& n : kMethods)
    if (name == n.text) return n.value;
  return Status(Code::Invalid, "There is no memory “" + std::string(name) + "”; choose h2mt or hmt");
}

Result<Aggregation> aggregation_named(std::string_view name) {
  for (const auto& n : kAggregations)
    if (name == n.text) return n.value;
  return Status(Code::Invalid, "There is no aggregation “" + std::string(name) +
                                   "”; choose mean, self_weights, cross_attention, graph or parent_token");
}

Status save_adapter(const std::filesystem::path& path, const AdapterContents& c) {
  GgufWriter gguf;
  gguf.text("general.type", "adapter");
  gguf.text("general.architecture", c.architecture);
  gguf.text("general.name", "Longleaf memory for " + c.model_title);
  gguf.text("adapter.type", name_of(c.memory.method));
  gguf.text("longleaf.model.name", c.model_title);
  gguf.text("longleaf.model.fingerprint", hexadecimal(c.model_fingerprint));
  if (c.lora_rank > 0) {
    gguf.f32("adapter.lora.alpha", c.lora_alpha);
    gguf.u32("adapter.lora.rank", static_cast<uint32_t>(c.lora_rank));
  }
  const std::string prefix = std::string(name_of(c.memory.method)) + ".";
  gguf.u32(prefix + "routing_length", static_cast<uint32_t>(c.memory.d_routing));
  gguf.f32(prefix + "query_fraction", c.memory.query_fraction);
  gguf.flag(prefix + "scales_memories", c.memory.scales);
  if (c.memory.method == MemoryMethod::Tree) {
    gguf.text(prefix + "aggregation", name_of(c.memory.aggregation));
    gguf.u32(prefix + "piece_length", static_cast<uint32_t>(c.memory.piece_tokens));
    gguf.u32(prefix + "children", static_cast<uint32_t>(c.memory.children));
  }
  if (c.memory.method == MemoryMethod::Recurrent) {
    gguf.u32(prefix + "segment_length", static_cast<uint32_t>(c.memory.segment_tokens));
    gguf.u32(prefix + "sensory_length", static_cast<uint32_t>(c.memory.sensory_tokens));
    gguf.u32(prefix + "recall_length", static_cast<uint32_t>(c.memory.recalled));
  }
  for (const AdapterTensor& t : c.tensors) {
    const auto rows = static_cast<uint64_t>(t.rows), cols = static_cast<uint64_t>(t.cols);
    if (t.rows == 1)
      gguf.tensor(t.name, {cols}, t.values);
    else
      gguf.tensor(t.name, {cols, rows}, t.values);
  }
  return gguf.save(path);
}

bool is_adapter(const std::filesystem::path& path) {
  const auto file = ModelFile::open(path);
  return file.ok() && (*file)->text_or("general.type", "") == "adapter";
}

Result<AdapterContents> load_adapter(const std::filesystem::path& path, const ModelFile& model, uint64_t fingerprint) {
  if (std::error_code error; !std::filesystem::exists(path, error) && !error)
    return Status(Code::NotFound, "The adapter " + path.string() + " cannot be opened: there is no such file");
  const auto opened = ModelFile::open(path);
  if (!opened.ok() && opened.status().code() == Code::Corrupt)
    return damaged(path.string(), "it is no whole GGUF file");
  LL_ASSIGN_OR_RETURN(const auto file, opened);
  if (file->text_or("general.type", "") != "adapter") return no_adapter(path, "it is a model, or something else");
  const auto method = memory_method_named(file->text_or("adapter.type", ""));
  if (!method.ok()) return no_adapter(path, "it has no memory; low-rank additions alone are of no use here");
  AdapterContents c;
  c.model_title = file->text_or("longleaf.model.name", "another model");
  c.architecture = file->text_or("general.architecture", "");
  if (file->text_or("longleaf.model.fingerprint", "") != hexadecimal(fingerprint))
    return Status(Code::Invalid, "The adapter " + path.string() + " was trained for the model “" + c.model_title +
                                     "”, not for this file of “" +
                                     std::string(model.text_or("general.name", model.name())) +
                                     "”; use it with the file it was trained for, or train one for this");
  c.model_fingerprint = fingerprint;
  c.lora_alpha = static_cast<float>(file->number_or("adapter.lora.alpha", 0));
  const int64_t rank = file->integer_or("adapter.lora.rank", 0);
  if (rank < 0 || rank > kMostRank || !std::isfinite(c.lora_alpha)) return damaged(file->name(), "impossible widths");
  c.lora_rank = static_cast<int>(rank);
  c.memory.method = *method;
  LL_RETURN_IF_ERROR(read_settings(*file, c.memory));
  for (const auto& [name, tensor] : file->tensors()) {
    LL_ASSIGN_OR_RETURN(AdapterTensor one, read_tensor(file->name(), name, tensor));
    c.tensors.push_back(std::move(one));
  }
  return c;
}

}  // namespace longleaf
