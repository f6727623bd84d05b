// Reading JSON that nobody may trust: everything that is missing or of another kind gives a default.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace longleaf {

using Json = nlohmann::json;

// Discarded (is_discarded()) when `text` is no JSON, or too large for the memory there is. What is nested deeper than
// kMaxJsonDepth is left out.
constexpr int kMaxJsonDepth = 64;
inline Json parse_json(std::string_view text) {
  const auto keep = [](int depth, Json::parse_event_t, Json&) { return depth <= kMaxJsonDepth; };
  try {
    return Json::parse(text.begin(), text.end(), keep, false);
  } catch (const std::exception&) {  // std::bad_alloc; nothing else is thrown
    return Json(Json::value_t::discarded);
  }
}

// A null value where `object` is no object or lacks `key`.
inline const Json& member(const Json& object, const char* key) {
  static const Json nothing;
  if (!object.is_object()) return nothing;
  const auto it = object.find(key);
  return it == object.end() ? nothing : *it;
}

inline std::string text_of(const Json& value, std::string_view otherwise = "") {
  const auto* text = value.get_ptr<const std::string*>();
  return text == nullptr ? std::string(otherwise) : *text;
}

inline bool flag_of(const Json& value, bool otherwise = false) {
  const auto* flag = value.get_ptr<const bool*>();
  return flag == nullptr ? otherwise : *flag;
}

inline std::optional<double> number_of(const Json& value) {
  if (!value.is_number()) return std::nullopt;
  return value.get<double>();
}

inline std::optional<int64_t> integer_of(const Json& value) {
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{INT64_MAX}) return std::nullopt;
  return value.get<int64_t>();
}

}  // namespace longleaf
