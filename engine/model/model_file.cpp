#include "engine/model/model_file.h"

#include "engine/model/gguf.h"
#include "engine/model/safetensors.h"

namespace longleaf {

Result<std::shared_ptr<const ModelFile>> ModelFile::open(const std::filesystem::path& path) {
  ModelContents contents;
  LL_RETURN_IF_ERROR(is_safetensors(path) ? open_safetensors(path, contents) : open_gguf(path, contents));
  return std::make_shared<const ModelFile>(std::move(contents));
}

Result<std::shared_ptr<const ModelFile>> ModelFile::parse(std::span<const uint8_t> bytes, std::string name) {
  ModelContents contents;
  contents.name = std::move(name);
  LL_RETURN_IF_ERROR(read_gguf(bytes, contents.name, contents));
  return std::make_shared<const ModelFile>(std::move(contents));
}

Status ModelFile::check() const {
  for (const auto& file : contents_.files)
    if (!file->is_whole())
      return Status(Code::Io, "The model file " + contents_.name +
                                  " cannot be read any more: it was changed or its disk is gone; open the model again "
                                  "when it is there");
  return {};
}

void ModelFile::release(std::span<const uint8_t> part) const {
  for (const auto& file : contents_.files) file->release(part);
}

void ModelFile::release() const {
  for (const auto& file : contents_.files) file->release(file->bytes());
}

Status damaged_file(const std::string& name, const std::string& what) {
  return Status(Code::Corrupt,
                "The model file " + name + " is damaged or incomplete (" + what + "); download it again");
}

const MetadataScalar* ModelFile::scalar(std::string_view key) const {
  const auto it = contents_.metadata.find(key);
  return it == contents_.metadata.end() ? nullptr : std::get_if<MetadataScalar>(&it->second);
}

template <typename T>
static const T* array_of(const std::map<std::string_view, MetadataValue>& metadata, std::string_view key) {
  const auto it = metadata.find(key);
  const auto* array = it == metadata.end() ? nullptr : std::get_if<MetadataArray>(&it->second);
  return array == nullptr ? nullptr : std::get_if<T>(array);
}

const std::vector<std::string_view>* ModelFile::strings(std::string_view key) const {
  return array_of<std::vector<std::string_view>>(contents_.metadata, key);
}
const std::vector<int64_t>* ModelFile::integers(std::string_view key) const {
  return array_of<std::vector<int64_t>>(contents_.metadata, key);
}
const std::vector<double>* ModelFile::numbers(std::string_view key) const {
  return array_of<std::vector<double>>(contents_.metadata, key);
}
std::span<const uint8_t> ModelFile::blob(std::string_view key) const {
  const auto* bytes = array_of<std::span<const uint8_t>>(contents_.metadata, key);
  return bytes == nullptr ? std::span<const uint8_t>() : *bytes;
}

int64_t ModelFile::integer_or(std::string_view key, int64_t otherwise) const {
  const auto* value = scalar(key);
  const auto* number = value == nullptr ? nullptr : std::get_if<int64_t>(value);
  return number == nullptr ? otherwise : *number;
}

double ModelFile::number_or(std::string_view key, double otherwise) const {
  const auto* value = scalar(key);
  if (value == nullptr) return otherwise;
  if (const auto* real = std::get_if<double>(value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
  return otherwise;
}

std::string_view ModelFile::text_or(std::string_view key, std::string_view otherwise) const {
  const auto* value = scalar(key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string_view>(value);
  return text == nullptr ? otherwise : *text;
}

bool ModelFile::flag_or(std::string_view key, bool otherwise) const {
  const auto* value = scalar(key);
  const auto* flag = value == nullptr ? nullptr : std::get_if<bool>(value);
  return flag == nullptr ? otherwise : *flag;
}

}  // namespace longleaf
