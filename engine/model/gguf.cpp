#include "engine/model/gguf.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <limits>

namespace longleaf {
namespace {

enum ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint64_t kMaxDimensions = 4;
constexpr uint64_t kMaxArray = 1 << 26;  // elements; the largest vocabularies have a few hundred thousand

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

GgufScalar read_scalar(Reader& r, uint32_t type) {
  if (is_integer(type)) return read_integer(r, type);
  if (type == F32) return double{r.read<float>()};
  if (type == F64) return r.read<double>();
  if (type == Bool) return r.read<uint8_t>() != 0;
  if (type == String) return r.text();
  r.fail();
  return int64_t{0};
}

GgufArray read_array(Reader& r) {
  const auto type = r.read<uint32_t>();
  const auto count = r.read<uint64_t>();
  if (type == Array || type > F64 || count > kMaxArray) r.fail();
  if (!r.fits(count, least_size(type))) return std::vector<int64_t>{};
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

GgufTensor read_tensor_info(Reader& r) {
  GgufTensor tensor;
  tensor.name = r.text();
  const auto dimensions = r.read<uint32_t>();
  if (dimensions > kMaxDimensions) r.fail();
  for (uint32_t d = 0; d < dimensions && !r.failed(); ++d) tensor.shape.push_back(r.read<int64_t>());
  tensor.type_id = r.read<uint32_t>();
  tensor.offset = r.read<uint64_t>();
  return tensor;
}

// Bytes of a tensor, or -1 when the shape is impossible (also for overflow).
int64_t tensor_bytes(const GgufTensor& tensor, kernels::DType type) {
  const kernels::Format& format = kernels::format_of(type);
  int64_t values = 1;
  for (int64_t n : tensor.shape)
    if (n <= 0 || __builtin_mul_overflow(values, n, &values)) return -1;
  if (tensor.shape.empty() || tensor.shape[0] % format.values != 0) return -1;
  int64_t bytes = 0;
  return __builtin_mul_overflow(values / format.values, int64_t{format.bytes}, &bytes) ? -1 : bytes;
}

std::string reason(const std::string& name, const std::string& what) {
  return "The model file " + name + " is damaged or incomplete (" + what + "); download it again";
}

}  // namespace

Result<kernels::DType> dtype_of(uint32_t ggml_type) {
  for (const auto& format : kernels::kFormats)
    if (format.ggml_id == ggml_type) return format.type;
  static const std::map<uint32_t, const char*> others = {
      {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {21, "IQ3_S"},
      {22, "IQ2_S"},   {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"}, {40, "NVFP4"}};
  const auto known = others.find(ggml_type);
  return Status(Code::Unsupported, "weights in the format " +
                                       (known != others.end() ? known->second : "number " + std::to_string(ggml_type)) +
                                       ", which this version cannot read");
}

Result<std::shared_ptr<const Gguf>> Gguf::parse(std::span<const uint8_t> bytes, std::string name) {
  std::shared_ptr<Gguf> file(new Gguf);
  file->name_ = std::move(name);
  file->bytes_ = bytes;
  LL_RETURN_IF_ERROR(file->read());
  return std::shared_ptr<const Gguf>(std::move(file));
}

Result<std::shared_ptr<const Gguf>> Gguf::open(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a pipe must not keep us waiting
  if (fd < 0)
    return Status(Code::NotFound, "The model file " + path.string() + " cannot be opened: " + std::strerror(errno));
  struct stat info {};
  const bool is_file = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  const auto size = is_file ? static_cast<size_t>(info.st_size) : 0;
  void* mapping = size > 0 ? mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  close(fd);
  if (!is_file) return Status(Code::Invalid, path.string() + " is not a file; choose a GGUF model file");
  if (size == 0) return Status(Code::Corrupt, reason(name, "it is empty"));
  if (mapping == MAP_FAILED) return Status(Code::NoMemory, "The model file " + name + " cannot be mapped into memory");
  std::shared_ptr<Gguf> file(new Gguf);
  file->name_ = name;
  file->mapping_ = mapping;
  file->bytes_ = {static_cast<const uint8_t*>(mapping), size};
  LL_RETURN_IF_ERROR(file->read());
  return std::shared_ptr<const Gguf>(std::move(file));
}

Gguf::~Gguf() {
  if (mapping_ != nullptr) munmap(mapping_, bytes_.size());
}

void Gguf::release(std::span<const uint8_t> bytes) const {
  if (mapping_ == nullptr) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Status Gguf::read() {
  Reader r(bytes_);
  const auto magic = r.read<uint32_t>();
  if (magic != kMagic) return Status(Code::Corrupt, name_ + " is not a GGUF model file; choose a file ending in .gguf");
  const auto version = r.read<uint32_t>();
  if (version != 2 && version != 3)
    return Status(Code::Unsupported, "The model file " + name_ + " is GGUF version " + std::to_string(version) +
                                         "; versions 2 and 3 can be read");
  const auto n_tensors = r.read<uint64_t>();
  const auto n_values = r.read<uint64_t>();
  if (!r.fits(n_tensors, 24) || !r.fits(n_values, 13)) return Status(Code::Corrupt, reason(name_, "impossible counts"));
  for (uint64_t i = 0; i < n_values && !r.failed(); ++i) {
    const auto key = r.text();
    const auto type = r.read<uint32_t>();
    if (type == Array)
      metadata_[key] = read_array(r);
    else
      metadata_[key] = read_scalar(r, type);
  }
  if (r.failed()) return Status(Code::Corrupt, reason(name_, "its description is cut short"));
  std::vector<GgufTensor> tensors;
  for (uint64_t i = 0; i < n_tensors && !r.failed(); ++i) tensors.push_back(read_tensor_info(r));
  if (r.failed()) return Status(Code::Corrupt, reason(name_, "its table of tensors is cut short"));

  const int64_t alignment = integer_or("general.alignment", 32);
  if (alignment < 8 || alignment > (1 << 20) || (alignment & (alignment - 1)) != 0)
    return Status(Code::Corrupt, reason(name_, "alignment " + std::to_string(alignment)));
  const auto step = static_cast<uint64_t>(alignment);
  const uint64_t data = (r.at() + step - 1) / step * step;
  for (auto& tensor : tensors) {
    const auto type = dtype_of(tensor.type_id);
    const int64_t bytes = type.ok() ? tensor_bytes(tensor, *type) : 0;
    const bool inside = bytes >= 0 && data <= bytes_.size() && tensor.offset <= bytes_.size() - data &&
                        static_cast<uint64_t>(bytes) <= bytes_.size() - data - tensor.offset;
    if (!inside || tensor.offset % 8 != 0)
      return Status(Code::Corrupt, reason(name_, "the tensor " + std::string(tensor.name) + " lies outside the file"));
    tensor.offset += data;
    tensor.bytes = static_cast<uint64_t>(bytes);
    const auto key = tensor.name;
    tensors_[key] = std::move(tensor);
  }
  return {};
}

const GgufScalar* Gguf::scalar(std::string_view key) const {
  const auto it = metadata_.find(key);
  return it == metadata_.end() ? nullptr : std::get_if<GgufScalar>(&it->second);
}

template <typename T>
static const T* array_of(const std::map<std::string_view, GgufValue>& metadata, std::string_view key) {
  const auto it = metadata.find(key);
  const auto* array = it == metadata.end() ? nullptr : std::get_if<GgufArray>(&it->second);
  return array == nullptr ? nullptr : std::get_if<T>(array);
}

const std::vector<std::string_view>* Gguf::strings(std::string_view key) const {
  return array_of<std::vector<std::string_view>>(metadata_, key);
}
const std::vector<int64_t>* Gguf::integers(std::string_view key) const {
  return array_of<std::vector<int64_t>>(metadata_, key);
}
const std::vector<double>* Gguf::numbers(std::string_view key) const {
  return array_of<std::vector<double>>(metadata_, key);
}

int64_t Gguf::integer_or(std::string_view key, int64_t otherwise) const {
  const auto* value = scalar(key);
  const auto* number = value == nullptr ? nullptr : std::get_if<int64_t>(value);
  return number == nullptr ? otherwise : *number;
}

double Gguf::number_or(std::string_view key, double otherwise) const {
  const auto* value = scalar(key);
  if (value == nullptr) return otherwise;
  if (const auto* real = std::get_if<double>(value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
  return otherwise;
}

std::string_view Gguf::text_or(std::string_view key, std::string_view otherwise) const {
  const auto* value = scalar(key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string_view>(value);
  return text == nullptr ? otherwise : *text;
}

bool Gguf::flag_or(std::string_view key, bool otherwise) const {
  const auto* value = scalar(key);
  const auto* flag = value == nullptr ? nullptr : std::get_if<bool>(value);
  return flag == nullptr ? otherwise : *flag;
}

}  // namespace longleaf
