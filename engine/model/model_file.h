// What a model's files hold: metadata, under GGUF's keys, and tensors, under GGUF's names. Nothing large is copied:
// strings and tensors point into the mapped files. Immutable; const methods: any thread.
// Formats: the GGUF specification of the ggml project (also split into parts); safetensors folders as the transformers
// library writes them.
#pragma once

#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/status.h"
#include "engine/model/mapped_file.h"
#include "kernels/types.h"

namespace longleaf {

// Integers of every width become int64, floats become double. Arrays of bytes stay bytes.
using MetadataScalar = std::variant<int64_t, double, bool, std::string_view>;
using MetadataArray =
    std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string_view>, std::span<const uint8_t>>;
using MetadataValue = std::variant<MetadataScalar, MetadataArray>;

struct Tensor {
  std::vector<int64_t> shape;  // innermost first
  std::optional<kernels::DType> type;
  std::string_view format;        // for people, when this version has no such type
  std::span<const uint8_t> data;  // empty when there is no type
};

// How the numbers of two kinds of weights are written down.
enum class WeightStyle {
  Ggml,          // rows of Q and K in the order of Architecture::rope; norms as they are multiplied
  Transformers,  // rotated pairs half a head apart; Gemma's norms without the one that is added
};

struct ModelContents {
  std::string name;  // for messages
  std::vector<std::shared_ptr<const MappedFile>> files;
  std::deque<std::string> texts;  // what is in no file as such, and what views point to
  std::map<std::string_view, MetadataValue> metadata;
  std::map<std::string_view, Tensor> tensors;
  std::string_view tokenizer_json;  // empty: the vocabulary is in the metadata
  WeightStyle style = WeightStyle::Ggml;
  std::vector<std::span<const uint8_t>> descriptions;  // the bytes of all files that are not tensors
  uint64_t bytes = 0;                                  // of all files

  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

class ModelFile {
 public:
  // `path`: a GGUF file (any part of a split one), a safetensors file, or the folder of one. The files stay mapped as
  // long as the object lives. Returns NotFound, Invalid, Io, Corrupt, Unsupported.
  static Result<std::shared_ptr<const ModelFile>> open(const std::filesystem::path& path);
  // A GGUF file in memory that outlives the object. `name` stands in messages.
  static Result<std::shared_ptr<const ModelFile>> parse(std::span<const uint8_t> bytes, std::string name);
  explicit ModelFile(ModelContents contents) : contents_(std::move(contents)) {}

  const std::string& name() const { return contents_.name; }
  const std::map<std::string_view, Tensor>& tensors() const { return contents_.tensors; }
  std::string_view tokenizer_json() const { return contents_.tokenizer_json; }
  WeightStyle style() const { return contents_.style; }
  const std::vector<std::span<const uint8_t>>& descriptions() const { return contents_.descriptions; }
  uint64_t bytes() const { return contents_.bytes; }

  // Io once a page could not be read that was there when the file was opened: what was read since may be zeros.
  Status check() const;
  // Lets go of pages of `part`, bytes of a tensor that will not be needed soon; they come back when read.
  void release(std::span<const uint8_t> part) const;
  void release() const;  // of all pages

  // nullptr when the key is missing or of another kind. Numbers convert where no value is lost.
  const MetadataScalar* scalar(std::string_view key) const;
  const std::vector<std::string_view>* strings(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;
  std::span<const uint8_t> blob(std::string_view key) const;  // empty when missing
  int64_t integer_or(std::string_view key, int64_t otherwise) const;
  double number_or(std::string_view key, double otherwise) const;
  std::string_view text_or(std::string_view key, std::string_view otherwise) const;
  bool flag_or(std::string_view key, bool otherwise) const;

 private:
  ModelContents contents_;
};

// "The model file X is damaged or incomplete (WHAT); download it again", as an error.
Status damaged_file(const std::string& name, const std::string& what);

}  // namespace longleaf
