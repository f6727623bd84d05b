#include "engine/adapter/adapter_file.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "engine/model/gguf_writer.h"

namespace longleaf {
namespace {

struct Name {
  Aggregation aggregation;
  const char* text;
};
constexpr std::array kNames = {Name{Aggregation::Mean, "mean"}, Name{Aggregation::SelfWeights, "self_weights"},
                               Name{Aggregation::CrossAttention, "cross_attention"}, Name{Aggregation::Graph, "graph"},
                               Name{Aggregation::ParentToken, "parent_token"}};

constexpr const char* kType = "h2mt";
constexpr int kMostRank = 4096, kMostRouting = 65536;

std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

Status no_adapter(const std::filesystem::path& path, const std::string& why) {
  return Status(Code::Unsupported, "The file " + path.string() + " is not an adapter of this program (" + why + ")");
}

Result<AdapterTensor> read_tensor(const std::string& file, std::string_view name, const Tensor& tensor) {
  constexpr int64_t kMost = int64_t{1} << 24;
  const auto& shape = tensor.shape;
  const bool plain = tensor.type == kernels::DType::F32 && (shape.size() == 1 || shape.size() == 2) && shape[0] > 0 &&
                     shape[0] <= kMost && (shape.size() == 1 || (shape[1] > 0 && shape[1] <= kMost));
  if (!plain) return damaged_file(file, "the tensor " + std::string(name) + " is not a matrix of F32");
  AdapterTensor t;
  t.name = name;
  t.cols = static_cast<int>(shape[0]);
  t.rows = shape.size() == 2 ? static_cast<int>(shape[1]) : 1;
  t.values.resize(tensor.data.size() / 4);
  std::memcpy(t.values.data(), tensor.data.data(), t.values.size() * 4);
  if (!std::all_of(t.values.begin(), t.values.end(), [](float x) { return std::isfinite(x); }))
    return damaged_file(file, "the tensor " + t.name + " has values that are not numbers");
  return t;
}

}  // namespace

const char* name_of(Aggregation aggregation) {
  return std::find_if(kNames.begin(), kNames.end(), [&](const Name& n) { return n.aggregation == aggregation; })->text;
}

Result<Aggregation> aggregation_named(std::string_view name) {
  for (const Name& n : kNames)
    if (name == n.text) return n.aggregation;
  return Status(Code::Invalid, "There is no aggregation “" + std::string(name) +
                                   "”; choose mean, self_weights, cross_attention, graph or parent_token");
}

Status save_adapter(const std::filesystem::path& path, const AdapterContents& c) {
  GgufWriter gguf;
  gguf.text("general.type", "adapter");
  gguf.text("general.architecture", c.architecture);
  gguf.text("general.name", "Longleaf memory for " + c.model_title);
  gguf.text("adapter.type", kType);
  gguf.text("longleaf.model.name", c.model_title);
  gguf.text("longleaf.model.fingerprint", hexadecimal(c.model_fingerprint));
  if (c.lora_rank > 0) {
    gguf.f32("adapter.lora.alpha", c.lora_alpha);
    gguf.u32("adapter.lora.rank", static_cast<uint32_t>(c.lora_rank));
  }
  gguf.text("h2mt.aggregation", name_of(c.memory.aggregation));
  gguf.u32("h2mt.routing_length", static_cast<uint32_t>(c.memory.d_routing));
  gguf.f32("h2mt.query_fraction", c.memory.query_fraction);
  gguf.flag("h2mt.scales_memories", c.memory.scales);
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
  LL_ASSIGN_OR_RETURN(const auto file, ModelFile::open(path));
  if (file->text_or("general.type", "") != "adapter") return no_adapter(path, "it is a model, or something else");
  if (file->text_or("adapter.type", "") != kType)
    return no_adapter(path, "it has no memory; low-rank additions alone are of no use here");
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
  const int64_t rank = file->integer_or("adapter.lora.rank", 0), routing = file->integer_or("h2mt.routing_length", 0);
  if (rank < 0 || rank > kMostRank || routing < 0 || routing > kMostRouting || !std::isfinite(c.lora_alpha))
    return damaged_file(file->name(), "impossible widths");
  c.lora_rank = static_cast<int>(rank);
  c.memory.d_routing = static_cast<int>(routing);
  const auto aggregation = aggregation_named(file->text_or("h2mt.aggregation", ""));
  if (!aggregation.ok()) return damaged_file(file->name(), "it does not say how memories are made of others");
  c.memory.aggregation = *aggregation;
  c.memory.query_fraction = static_cast<float>(file->number_or("h2mt.query_fraction", 1));
  if (!(c.memory.query_fraction > 0 && c.memory.query_fraction <= 1))
    return damaged_file(file->name(), "an impossible share of the question");
  c.memory.scales = file->flag_or("h2mt.scales_memories", false);
  for (const auto& [name, tensor] : file->tensors()) {
    LL_ASSIGN_OR_RETURN(AdapterTensor one, read_tensor(file->name(), name, tensor));
    c.tensors.push_back(std::move(one));
  }
  return c;
}

}  // namespace longleaf
