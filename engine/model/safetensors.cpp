#include "engine/model/safetensors.h"

#include <array>
#include <cstring>
#include <set>

#include "engine/model/json.h"
#include "engine/model/published.h"

namespace longleaf {
namespace {

constexpr uint64_t kMaxHeader = 1 << 25;  // the largest published ones have a few megabytes
constexpr uint64_t kMaxText = 1 << 27;    // of the JSON files beside the weights

struct Kind {
  std::string_view name;
  kernels::DType type;
  uint64_t bytes;
};
constexpr std::array kKinds = {Kind{"F32", kernels::DType::F32, 4}, Kind{"F16", kernels::DType::F16, 2},
                               Kind{"BF16", kernels::DType::BF16, 2}};

// Bytes of the files that are read whole; empty when there is none.
Result<std::span<const uint8_t>> whole_file(const std::filesystem::path& path, ModelContents& contents) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::span<const uint8_t>();
  LL_ASSIGN_OR_RETURN(auto file, MappedFile::open(path));
  const auto bytes = file->bytes();
  if (bytes.size() > kMaxText) return damaged_file(path.filename().string(), "it is too large");
  contents.files.push_back(std::move(file));
  contents.descriptions.push_back(bytes);
  return bytes;
}

std::string_view as_text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Null when there is no such file.
Result<Json> json_file(const std::filesystem::path& path, ModelContents& contents) {
  LL_ASSIGN_OR_RETURN(const auto bytes, whole_file(path, contents));
  if (bytes.empty()) return Json();
  Json json = parse_json(as_text(bytes));
  if (!json.is_structured()) return damaged_file(path.filename().string(), "it is no JSON");
  return json;
}

// Bytes of a tensor by its shape, or nullopt on overflow and for impossible shapes.
std::optional<uint64_t> size_of(const std::vector<int64_t>& shape, uint64_t each) {
  auto bytes = static_cast<int64_t>(each);
  for (int64_t n : shape)
    if (n <= 0 || __builtin_mul_overflow(bytes, n, &bytes)) return std::nullopt;
  return static_cast<uint64_t>(bytes);
}

// Where one tensor lies in `data`; nullopt when its entry makes no sense.
std::optional<Tensor> read_entry(const Json& entry, std::span<const uint8_t> data, ModelContents& contents) {
  const Json &shape = member(entry, "shape"), &offsets = member(entry, "data_offsets");
  if (!shape.is_array() || !offsets.is_array() || offsets.size() != 2) return std::nullopt;
  const auto begin = integer_of(offsets[0]), end = integer_of(offsets[1]);
  if (!begin || !end || *begin < 0 || *begin > *end || static_cast<uint64_t>(*end) > data.size()) return std::nullopt;
  Tensor tensor;
  for (size_t i = shape.size(); i-- > 0;) tensor.shape.push_back(integer_of(shape[i]).value_or(-1));
  const std::string format = text_of(member(entry, "dtype"));
  for (const Kind& kind : kKinds) {
    if (kind.name != format) continue;
    tensor.type = kind.type;
    tensor.data = data.subspan(static_cast<size_t>(*begin), static_cast<size_t>(*end - *begin));
    if (size_of(tensor.shape, kind.bytes) != tensor.data.size()) return std::nullopt;
    if (reinterpret_cast<uintptr_t>(tensor.data.data()) % kind.bytes == 0) return tensor;
    const auto copy = contents.keep(std::string(as_text(tensor.data)));  // early writers aligned nothing
    tensor.data = {reinterpret_cast<const uint8_t*>(copy.data()), copy.size()};
    return tensor;
  }
  tensor.format = contents.keep(format);
  return tensor;
}

// The files of a folder's weights, each once.
Result<std::set<std::string>> weight_files(const std::filesystem::path& folder, ModelContents& contents) {
  std::error_code error;
  const std::string whole = "model.safetensors";
  if (std::filesystem::exists(folder / whole, error)) return std::set<std::string>{whole};
  LL_ASSIGN_OR_RETURN(const Json index, json_file(folder / (whole + ".index.json"), contents));
  std::set<std::string> names;
  const Json& map = member(index, "weight_map");
  if (!index.is_null() && !map.is_object()) return damaged_file(whole + ".index.json", "it has no weight_map");
  for (auto it = map.begin(); it != map.end(); ++it) {
    const std::string name = text_of(*it);
    if (name.empty() || std::filesystem::path(name).filename() != name)
      return damaged_file(whole + ".index.json", "it names no file for " + it.key());
    names.insert(name);
  }
  if (names.empty())
    return Status(Code::NotFound, "The folder " + folder.string() + " holds no " + whole +
                                      "; choose a GGUF file, or a folder with config.json, tokenizer.json and " +
                                      whole);
  return names;
}

// What people call the model in `folder`: its name, or in a hub's cache (models--MAKER--NAME/snapshots/HASH) the one it
// has there.
std::string name_of(const std::filesystem::path& folder) {
  const std::string hub = folder.parent_path().parent_path().filename().string();
  const size_t last = hub.rfind("--");
  const bool cached = folder.parent_path().filename() == "snapshots" && last != std::string::npos;
  return cached ? hub.substr(last + 2) : folder.filename().string();
}

}  // namespace

bool is_safetensors(const std::filesystem::path& path) {
  std::error_code error;
  const std::string name = path.filename().string();
  return std::filesystem::is_directory(path, error) || path.extension() == ".safetensors" ||
         name.ends_with(".safetensors.index.json");
}

Status read_safetensors(std::span<const uint8_t> bytes, const std::string& name, ModelContents& contents) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length) return damaged_file(name, "it is cut short");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeader || length > bytes.size() - sizeof length)
    return damaged_file(name, "its description is cut short");
  const auto description = bytes.first(sizeof length + static_cast<size_t>(length));
  const auto data = bytes.subspan(description.size());
  const Json header = parse_json(as_text(description.subspan(sizeof length)));
  if (!header.is_object()) return damaged_file(name, "its description is no JSON object");
  uint64_t claimed = 0;  // tensors do not overlap, so together they are no larger than the data
  for (auto it = header.begin(); it != header.end(); ++it) {
    if (it.key() == "__metadata__") continue;
    auto tensor = read_entry(*it, data, contents);
    claimed += tensor ? tensor->data.size() : 0;
    if (!tensor || claimed > data.size())
      return damaged_file(name, "the tensor " + it.key() + " lies outside the file");
    contents.tensors[contents.keep(it.key())] = std::move(*tensor);
  }
  contents.descriptions.push_back(description);
  contents.bytes += bytes.size();
  return {};
}

Status open_safetensors(const std::filesystem::path& path, ModelContents& contents) {
  std::error_code error;
  const bool is_folder = std::filesystem::is_directory(path, error);
  if (!is_folder && !std::filesystem::exists(path, error))
    return Status(Code::NotFound, "The model file " + path.string() + " cannot be opened: there is no such file");
  const auto absolute = std::filesystem::absolute(path, error).lexically_normal();
  auto folder = is_folder ? absolute : absolute.parent_path();
  if (!folder.has_filename()) folder = folder.parent_path();
  contents.name = name_of(folder);
  LL_ASSIGN_OR_RETURN(const auto names, weight_files(folder, contents));
  const std::string chosen = path.filename().string();
  if (!is_folder && names.count(chosen) == 0 && !chosen.ends_with(".index.json"))
    return Status(Code::Invalid, "The file " + chosen + " is no part of the model beside it; choose model.safetensors");
  Published published;
  LL_ASSIGN_OR_RETURN(published.config, json_file(folder / "config.json", contents));
  if (published.config.is_null())
    return Status(Code::NotFound, "The folder " + folder.string() + " lacks config.json; download the whole model");
  LL_ASSIGN_OR_RETURN(published.tokenizer_config, json_file(folder / "tokenizer_config.json", contents));
  LL_ASSIGN_OR_RETURN(published.generation_config, json_file(folder / "generation_config.json", contents));
  LL_ASSIGN_OR_RETURN(published.pooling, json_file(folder / "1_Pooling" / "config.json", contents));
  LL_ASSIGN_OR_RETURN(published.modules, json_file(folder / "modules.json", contents));
  LL_ASSIGN_OR_RETURN(const auto chat_template, whole_file(folder / "chat_template.jinja", contents));
  LL_ASSIGN_OR_RETURN(const auto tokenizer, whole_file(folder / "tokenizer.json", contents));
  if (tokenizer.empty())
    return Status(Code::NotFound, "The folder " + folder.string() + " lacks tokenizer.json; download the whole model");
  published.chat_template = as_text(chat_template);
  contents.tokenizer_json = as_text(tokenizer);
  for (const std::string& name : names) {
    LL_ASSIGN_OR_RETURN(auto file, MappedFile::open(folder / name));
    const auto bytes = file->bytes();
    contents.files.push_back(std::move(file));
    LL_RETURN_IF_ERROR(read_safetensors(bytes, name, contents));
  }
  return translate(published, contents);
}

}  // namespace longleaf
