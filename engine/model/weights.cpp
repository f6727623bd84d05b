#include "engine/model/weights.h"

#include <algorithm>

#include "engine/base/checksum.h"
#include "engine/model/config.h"
#include "kernels/blocks.h"

namespace longleaf {

using kernels::Buffer;
using kernels::DevicePtr;
using kernels::PackedWeight;
using kernels::Weight;

namespace {
constexpr int64_t kMaxRows = int64_t{1} << 30;
}

Result<Weight> Weights::stored(const std::string& name, const std::vector<int64_t>& shape) {
  const auto it = file_.tensors().find(name);
  if (it == file_.tensors().end()) return lacks(file_, "the weights " + name);
  used_.insert(name);
  const Tensor& tensor = it->second;
  if (!tensor.type)
    return Status(Code::Unsupported, "The model " + file_.name() + " has weights in the format " +
                                         std::string(tensor.format) + ", which this version cannot read");
  int64_t n_rows = 1;
  for (size_t i = 1; i < shape.size(); ++i) n_rows *= shape[i];
  if (tensor.shape != shape || n_rows > kMaxRows) return lacks(file_, "weights " + name + " of the right shape");
  return Weight{*tensor.type, static_cast<int>(n_rows), static_cast<int>(shape[0]), tensor.data.data()};
}

Weight Weights::rows(const Weight& w, int first, int n) {
  return {w.type, n, w.cols, w.data + static_cast<size_t>(first) * kernels::row_bytes(w.type, w.cols)};
}

Result<PackedWeight> Weights::packed(const Weight& w) {
  LL_ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(*backend_, backend_->packed_bytes(backend_->self, w)));
  LL_RETURN_IF_ERROR(backend_->pack(backend_->self, w, buffer.data()));
  file_.release({w.data, static_cast<size_t>(w.rows) * kernels::row_bytes(w.type, w.cols)});
  memory_.push_back(std::move(buffer));
  return PackedWeight{w.type, w.rows, w.cols, memory_.back().data()};
}

Result<PackedWeight> Weights::matrix(const std::string& name, int n_rows, int cols) {
  LL_ASSIGN_OR_RETURN(const Weight w, stored(name, {cols, n_rows}));
  return packed(w);
}

Result<std::vector<float>> Weights::values(const std::string& name, int n, float offset) {
  const auto it = file_.tensors().find(name);
  const Tensor* tensor = it == file_.tensors().end() ? nullptr : &it->second;
  const bool whole = tensor != nullptr && tensor->type && kernels::format_of(*tensor->type).values == 1 &&
                     tensor->data.size() == static_cast<size_t>(n) * kernels::row_bytes(*tensor->type, 1);
  if (!whole) return lacks(file_, "the weights " + name);
  used_.insert(name);
  std::vector<float> values(static_cast<size_t>(n));
  kernels::dequantize_row(*tensor->type, tensor->data.data(), n, values.data());
  for (float& value : values) value += offset;
  return values;
}

Result<DevicePtr> Weights::vector(const std::string& name, int n, float offset) {
  LL_ASSIGN_OR_RETURN(const std::vector<float> all, values(name, n, offset));
  return kept(all);
}

Result<DevicePtr> Weights::kept(const std::vector<float>& values) {
  if (values.empty()) return DevicePtr{nullptr};
  LL_ASSIGN_OR_RETURN(Buffer buffer, numbers(values));
  memory_.push_back(std::move(buffer));
  return memory_.back().data();
}

Result<DevicePtr> Weights::optional_vector(const std::string& name, int n) {
  if (!has(name)) return DevicePtr{nullptr};
  return vector(name, n);
}

Result<Buffer> Weights::numbers(const std::vector<float>& values) const {
  if (values.empty()) return Buffer();
  LL_ASSIGN_OR_RETURN(Buffer buffer, Buffer::allocate(*backend_, values.size() * 4));
  LL_RETURN_IF_ERROR(backend_->upload(backend_->self, buffer.data(), values.data(), buffer.bytes()));
  return buffer;
}

Status Weights::check_all_used() const {
  return unused([](std::string_view name) {
    const bool sees = name.starts_with("v.") || name.starts_with("mm.");  // pictures, which nobody shows it
    return !sees && name.find("rope_") == name.npos && name.find("rot_") == name.npos;
  });
}

Status Weights::check_biases() const {
  return unused([](std::string_view name) { return name.ends_with(".bias"); });
}

Status Weights::unused(bool (*counts)(std::string_view name)) const {
  for (const auto& [name, tensor] : file_.tensors())
    if (counts(name) && used_.count(std::string(name)) == 0)
      return Status(Code::Unsupported, "The model " + file_.name() + " has the weights " + std::string(name) +
                                           ", which this version cannot use");
  return {};
}

uint64_t fingerprint_of(const ModelFile& file) {
  constexpr size_t kSample = 256;
  const auto text = [](std::span<const uint8_t> bytes) {
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  uint64_t sum = 0;
  for (const auto description : file.descriptions())
    sum = fingerprint(std::to_string(file.bytes()), sum ^ crc32c(description.data(), description.size()));
  for (const auto& [name, tensor] : file.tensors()) {
    const size_t n = std::min(kSample, tensor.data.size());
    sum = fingerprint(text(tensor.data.first(n)), sum);
    sum = fingerprint(text(tensor.data.subspan((tensor.data.size() - n) / 2, n)), sum);
  }
  return sum;
}

}  // namespace longleaf
