#include "engine/model/gguf.h"

#include <array>
#include <cstdio>
#include <cstring>

namespace longleaf {
namespace {

enum ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxDimensions = 4;
constexpr uint64_t kMaxArray = 1 << 26;  // elements; the largest vocabularies have a few hundred thousand
constexpr int64_t kMaxParts = 1000;

// Walks over the bytes; the first impossible length ends the walk by setting `failed`.
class Reader {
 public:
  explicit Reader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  template <typename T>
  T read() {
    T value{};
    if (!need(sizeof(T))) return value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string_view text() {
    const auto length = read<uint64_t>();
    if (!need(length)) return {};
    const std::string_view view(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
    return view;
  }

  // True when `count` elements of at least `size` bytes can still follow; fails the walk otherwise.
  bool fits(uint64_t count, uint64_t size) {
    if (!failed_ && count <= (bytes_.size() - at_) / size) return true;
    failed_ = true;
    return false;
  }

  std::span<const uint8_t> blob(uint64_t length) {
    if (!need(length)) return {};
    at_ += length;
    return bytes_.subspan(at_ - length, length);
  }

  bool failed() const { return failed_; }
  void fail() { failed_ = true; }
  uint64_t at() const { return at_; }

 private:
  bool need(uint64_t n) { return fits(n, 1); }
  std::span<const uint8_t> bytes_;
  uint64_t at_ = 0;
  bool failed_ = false;
};

bool is_integer(uint32_t type) { return type <= I32 || type == U64 || type == I64; }

int64_t read_integer(Reader& r, uint32_t type) {
  switch (type) {
    case U8:
      return r.read<uint8_t>();
    case I8:
      return r.read<int8_t>();
    case U16:
      return r.read<uint16_t>();
    case I16:
      return r.read<int16_t>();
    case U32:
      return r.read<uint32_t>();
    case I32:
      return r.read<int32_t>();
    default:
      return r.read<int64_t>();
  }
}

size_t least_size(uint32_t type) {
  switch (type) {
    case U8:
    case I8:
    case Bool:
      return 1;
    case U16:
    case I16:
      return 2;
    case U32:
    case I32:
    case F32:
      return 4;
    default:
      return 8;
  }
}

MetadataScalar read_scalar(Reader& r, uint32_t type) {
  if (is_integer(type)) return read_integer(r, type);
  if (type == F32) return double{r.read<float>()};
  if (type == F64) return r.read<double>();
  if (type == Bool) return r.read<uint8_t>() != 0;
  if (type == String) return r.text();
  r.fail();
  return int64_t{0};
}

MetadataArray read_array(Reader& r) {
  const auto type = r.read<uint32_t>();
  const auto count = r.read<uint64_t>();
  if (type == Array || type > F64 || count > kMaxArray) r.fail();
  if (!r.fits(count, least_size(type))) return std::vector<int64_t>{};
  if (type == U8 || type == I8) return r.blob(count);
  if (type == String) {
    std::vector<std::string_view> all;
    for (uint64_t i = 0; i < count && !r.failed(); ++i) all.push_back(r.text());
    return all;
  }
  if (type == F32 || type == F64) {
    std::vector<double> all(count);
    for (auto& x : all) x = type == F32 ? double{r.read<float>()} : r.read<double>();
    return all;
  }
  std::vector<int64_t> all(count);
  for (auto& x : all) x = type == Bool ? r.read<uint8_t>() : read_integer(r, type);
  return all;
}

struct TensorInfo {
  std::string_view name;
  Tensor tensor;
  uint64_t offset = 0;  // from the start of the data
};

// ggml's type number; formats this version does not compute with keep their name.
void set_format(uint32_t ggml_id, Tensor& tensor, ModelContents& contents) {
  for (const auto& format : kernels::kFormats)
    if (format.ggml_id == ggml_id) tensor.type = format.type;
  if (tensor.type) return;
  struct Other {
    uint32_t id;
    std::string_view name;
  };
  static constexpr std::array others = {
      Other{16, "IQ2_XXS"}, Other{17, "IQ2_XS"}, Other{18, "IQ3_XXS"}, Other{19, "IQ1_S"}, Other{21, "IQ3_S"},
      Other{22, "IQ2_S"},   Other{29, "IQ1_M"},  Other{34, "TQ1_0"},   Other{35, "TQ2_0"}, Other{40, "NVFP4"}};
  for (const Other& other : others)
    if (other.id == ggml_id) tensor.format = other.name;
  if (tensor.format.empty()) tensor.format = contents.keep("number " + std::to_string(ggml_id));
}

TensorInfo read_tensor_info(Reader& r, ModelContents& contents) {
  TensorInfo info;
  info.name = r.text();
  const auto dimensions = r.read<uint32_t>();
  if (dimensions > kMaxDimensions) r.fail();
  for (uint32_t d = 0; d < dimensions && !r.failed(); ++d) info.tensor.shape.push_back(r.read<int64_t>());
  const auto type = r.read<uint32_t>();
  info.offset = r.read<uint64_t>();
  if (!r.failed()) set_format(type, info.tensor, contents);
  return info;
}

// Bytes of a tensor, or -1 when the shape is impossible (also for overflow); 0 for an unknown format.
int64_t tensor_bytes(const Tensor& tensor) {
  if (!tensor.type) return 0;
  const kernels::Format& format = kernels::format_of(*tensor.type);
  int64_t values = 1;
  for (int64_t n : tensor.shape)
    if (n <= 0 || __builtin_mul_overflow(values, n, &values)) return -1;
  if (tensor.shape.empty() || tensor.shape[0] % format.values != 0) return -1;
  int64_t bytes = 0;
  return __builtin_mul_overflow(values / format.values, int64_t{format.bytes}, &bytes) ? -1 : bytes;
}

int64_t integer_at(const ModelContents& contents, std::string_view key, int64_t otherwise) {
  const auto it = contents.metadata.find(key);
  const auto* scalar = it == contents.metadata.end() ? nullptr : std::get_if<MetadataScalar>(&it->second);
  const auto* number = scalar == nullptr ? nullptr : std::get_if<int64_t>(scalar);
  return number == nullptr ? otherwise : *number;
}

// The file of part `part` of `n` beside `path`; empty when its name does not end as those of parts do.
std::filesystem::path part_of(const std::filesystem::path& path, int64_t part, int64_t n) {
  constexpr size_t kEnding = std::string_view("-00001-of-00002.gguf").size();
  const std::string name = path.filename().string();
  if (name.size() < kEnding || name.compare(name.size() - 14, 4, "-of-") != 0) return {};
  char ending[64];
  std::snprintf(ending, sizeof ending, "-%05lld-of-%05lld.gguf", static_cast<long long>(part + 1),
                static_cast<long long>(n));
  return path.parent_path() / (name.substr(0, name.size() - kEnding) + ending);
}

Status add_file(const std::filesystem::path& path, ModelContents& contents) {
  LL_ASSIGN_OR_RETURN(auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  contents.files.push_back(std::move(file));
  return read_gguf(bytes, path.filename().string(), contents);
}

}  // namespace

Status read_gguf(std::span<const uint8_t> bytes, const std::string& name, ModelContents& contents) {
  Reader r(bytes);
  const auto magic = r.read<uint32_t>();
  if (magic != kMagic) return Status(Code::Corrupt, name + " is not a GGUF model file; choose a file ending in .gguf");
  const auto version = r.read<uint32_t>();
  if (version != 0 && (version & 0xffff) == 0)
    return Status(Code::Unsupported, "The model file " + name +
                                         " is made for computers that write numbers the other way round (big-endian); "
                                         "choose another file of the same model");
  if (version != 2 && version != 3)
    return Status(Code::Unsupported, "The model file " + name + " is GGUF version " + std::to_string(version) +
                                         "; versions 2 and 3 can be read");
  const auto n_tensors = r.read<uint64_t>();
  const auto n_values = r.read<uint64_t>();
  if (!r.fits(n_tensors, 24) || !r.fits(n_values, 13)) return damaged_file(name, "impossible counts");
  for (uint64_t i = 0; i < n_values && !r.failed(); ++i) {
    const auto key = r.text();
    const auto type = r.read<uint32_t>();
    if (type == Array)
      contents.metadata.emplace(key, read_array(r));
    else
      contents.metadata.emplace(key, read_scalar(r, type));
  }
  if (r.failed()) return damaged_file(name, "its description is cut short");
  std::vector<TensorInfo> infos;
  for (uint64_t i = 0; i < n_tensors && !r.failed(); ++i) infos.push_back(read_tensor_info(r, contents));
  if (r.failed()) return damaged_file(name, "its table of tensors is cut short");

  const int64_t alignment = integer_at(contents, "general.alignment", 32);
  if (alignment < 8 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0)
    return damaged_file(name, "alignment " + std::to_string(alignment));
  const auto step = static_cast<uint64_t>(alignment);
  const uint64_t data = (r.at() + step - 1) / step * step;
  uint64_t first = bytes.size();
  for (auto& [tensor_name, tensor, offset] : infos) {
    const int64_t size = tensor_bytes(tensor);
    const bool inside = size >= 0 && data <= bytes.size() && offset <= bytes.size() - data &&
                        static_cast<uint64_t>(size) <= bytes.size() - data - offset;
    if (!inside || offset % 8 != 0)
      return damaged_file(name, "the tensor " + std::string(tensor_name) + " lies outside the file");
    first = std::min(first, data + offset);
    tensor.data = bytes.subspan(data + offset, static_cast<size_t>(size));
    contents.tensors[tensor_name] = std::move(tensor);
  }
  contents.descriptions.push_back(bytes.first(first));
  contents.bytes += bytes.size();
  return {};
}

Status open_gguf(const std::filesystem::path& path, ModelContents& contents) {
  contents.name = path.filename().string();
  LL_RETURN_IF_ERROR(add_file(path, contents));
  const int64_t parts = integer_at(contents, "split.count", 1);
  if (parts <= 1) return {};
  if (parts > kMaxParts) return damaged_file(contents.name, std::to_string(parts) + " parts");
  const std::string chosen = contents.name;
  contents = {};
  contents.name = chosen;
  for (int64_t part = 0; part < parts; ++part) {
    const auto file = part_of(path, part, parts);
    std::error_code error;
    if (file.empty() || !std::filesystem::exists(file, error))
      return Status(Code::NotFound, "The model " + chosen + " is split into " + std::to_string(parts) +
                                        " files, and part " + std::to_string(part + 1) + " (" +
                                        file.filename().string() + ") is not beside it; put all parts into one folder");
    for (const char* key : {"split.no", "split.count"}) contents.metadata.erase(key);
    LL_RETURN_IF_ERROR(add_file(file, contents));
    if (integer_at(contents, "split.no", -1) != part || integer_at(contents, "split.count", 1) != parts)
      return damaged_file(chosen, "its parts do not belong together");
  }
  const int64_t n_tensors = integer_at(contents, "split.tensors.count", -1);
  if (n_tensors >= 0 && n_tensors != static_cast<int64_t>(contents.tensors.size()))
    return damaged_file(chosen, "its parts do not belong together");
  return {};
}

}  // namespace longleaf
