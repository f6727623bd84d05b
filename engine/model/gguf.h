// Reads GGUF v2 and v3 model files: metadata and the places of tensors. Nothing is copied: strings and tensors point
// into the mapping. Every length and offset is checked against the file before it is used.
// Format: the GGUF specification of the ggml project. Const methods: any thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/status.h"
#include "kernels/types.h"

namespace longleaf {

// Integers of every width become int64, floats become double.
using GgufScalar = std::variant<int64_t, double, bool, std::string_view>;
using GgufArray = std::variant<std::vector<int64_t>, std::vector<double>, std::vector<std::string_view>>;
using GgufValue = std::variant<GgufScalar, GgufArray>;

struct GgufTensor {
  std::string_view name;
  std::vector<int64_t> shape;  // innermost first, as stored
  uint32_t type_id = 0;        // ggml's number
  uint64_t offset = 0;         // from the start of the file
  uint64_t bytes = 0;          // 0 when the format is not supported
};

// ggml's type number as ours; Unsupported with the format's name otherwise.
Result<kernels::DType> dtype_of(uint32_t ggml_type);

class Gguf {
 public:
  // Maps `file`. The mapping lives as long as the object.
  // Returns NotFound, Io, Corrupt.
  static Result<std::shared_ptr<const Gguf>> open(const std::filesystem::path& file);
  // The same over bytes in memory that outlive the object. `name` stands in messages.
  static Result<std::shared_ptr<const Gguf>> parse(std::span<const uint8_t> bytes, std::string name);
  ~Gguf();
  Gguf(const Gguf&) = delete;
  Gguf& operator=(const Gguf&) = delete;

  const std::string& name() const { return name_; }
  std::span<const uint8_t> bytes() const { return bytes_; }
  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  const std::map<std::string_view, GgufTensor>& tensors() const { return tensors_; }
  std::span<const uint8_t> data(const GgufTensor& tensor) const { return bytes_.subspan(tensor.offset, tensor.bytes); }

  // Lets go of pages of `bytes`, a part of the file, that will not be needed soon; they come back when read.
  void release(std::span<const uint8_t> bytes) const;

  // nullptr when the key is missing or of another kind. Numbers convert where no value is lost.
  const GgufScalar* scalar(std::string_view key) const;
  const std::vector<std::string_view>* strings(std::string_view key) const;
  const std::vector<int64_t>* integers(std::string_view key) const;
  const std::vector<double>* numbers(std::string_view key) const;
  int64_t integer_or(std::string_view key, int64_t otherwise) const;
  double number_or(std::string_view key, double otherwise) const;
  std::string_view text_or(std::string_view key, std::string_view otherwise) const;
  bool flag_or(std::string_view key, bool otherwise) const;

 private:
  Gguf() = default;
  Status read();
  std::string name_;
  std::span<const uint8_t> bytes_;
  void* mapping_ = nullptr;
  std::map<std::string_view, GgufValue> metadata_;
  std::map<std::string_view, GgufTensor> tensors_;
};

}  // namespace longleaf
