// Writes GGUF files: metadata in the order given, then tensors. All is kept in memory until it is saved.
// Format: the GGUF specification of the ggml project, version 3.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace longleaf {

class GgufWriter {
 public:
  void text(const std::string& key, std::string_view value) { begin(key, 8), put_text(metadata_, value); }
  void u32(const std::string& key, uint32_t value) { begin(key, 4), put(metadata_, value); }
  void f32(const std::string& key, float value) { begin(key, 6), put(metadata_, value); }
  void flag(const std::string& key, bool value) { begin(key, 7), put(metadata_, static_cast<uint8_t>(value)); }
  void texts(const std::string& key, const std::vector<std::string>& values) {
    begin_array(key, 8, values.size());
    for (const auto& value : values) put_text(metadata_, value);
  }
  void floats(const std::string& key, const std::vector<float>& values) {
    begin_array(key, 6, values.size());
    for (float value : values) put(metadata_, value);
  }
  void ints(const std::string& key, const std::vector<int32_t>& values) {
    begin_array(key, 5, values.size());
    for (int32_t value : values) put(metadata_, value);
  }
  void blob(const std::string& key, std::string_view bytes) {
    begin_array(key, 0, bytes.size());
    metadata_ += bytes;
  }
  // shape innermost first; type is ggml's number
  void tensor(const std::string& name, const std::vector<uint64_t>& shape, uint32_t type, const void* bytes, size_t n) {
    put_text(infos_, name);
    put(infos_, static_cast<uint32_t>(shape.size()));
    for (uint64_t dimension : shape) put(infos_, dimension);
    put(infos_, type);
    put(infos_, static_cast<uint64_t>(data_.size()));
    data_.append(static_cast<const char*>(bytes), n);
    data_.resize((data_.size() + 31) / 32 * 32);
    ++n_tensors_;
  }
  void tensor(const std::string& name, const std::vector<uint64_t>& shape, const std::vector<float>& values) {
    tensor(name, shape, 0, values.data(), values.size() * 4);
  }

  std::string bytes() const {
    std::string out;
    put(out, uint32_t{0x46554747});
    put(out, uint32_t{3});
    put(out, n_tensors_);
    put(out, n_values_);
    out += metadata_ + infos_;
    out.resize((out.size() + 31) / 32 * 32);
    return out + data_;
  }
  // Writes a file beside `path` and puts it in its place when it is whole: what stood there stays until then.
  // Returns Io with the reason.
  Status save(const std::filesystem::path& path) const;

 private:
  template <typename T>
  static void put(std::string& out, T value) {
    out.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static void put_text(std::string& out, std::string_view text) {
    put(out, static_cast<uint64_t>(text.size()));
    out.append(text);
  }
  void begin(const std::string& key, uint32_t type) {
    put_text(metadata_, key);
    put(metadata_, type);
    ++n_values_;
  }
  void begin_array(const std::string& key, uint32_t type, size_t count) {
    begin(key, 9);
    put(metadata_, type);
    put(metadata_, static_cast<uint64_t>(count));
  }
  std::string metadata_, infos_, data_;
  uint64_t n_values_ = 0, n_tensors_ = 0;
};

}  // namespace longleaf
