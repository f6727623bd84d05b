#include "engine/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace longleaf::jinja {

const Value* Dict::find(std::string_view key) const {
  for (const auto& entry : entries)
    if (entry.first == key) return &entry.second;
  return nullptr;
}

void Dict::set(std::string_view key, Value value) {
  for (auto& entry : entries)
    if (entry.first == key) {
      entry.second = std::move(value);
      return;
    }
  entries.emplace_back(std::string(key), std::move(value));
}

Value::Value(List list) {
  for (const Value& item : list) depth_ = std::max(depth_, item.depth_);
  ++depth_;
  data_ = std::make_shared<List>(std::move(list));
}

Value::Value(Dict dict) {
  for (const auto& entry : dict.entries) depth_ = std::max(depth_, dict.is_namespace ? 0 : entry.second.depth_);
  ++depth_;
  data_ = std::make_shared<Dict>(std::move(dict));
}

Value Arguments::get(size_t index, std::string_view name, Value otherwise) const {
  if (index < positional.size()) return positional[index];
  for (const auto& [key, value] : named)
    if (key == name) return value;
  return otherwise;
}

double Value::number() const {
  if (const auto* b = boolean()) return *b ? 1 : 0;
  if (const auto* i = integer()) return static_cast<double>(*i);
  return real() != nullptr ? *real() : 0;
}

int64_t whole_number(const Value& value, int64_t otherwise) {
  constexpr double kMost = 9007199254740992.0;  // 2^53
  if (!value.is_number() || std::isnan(value.number())) return otherwise;
  return static_cast<int64_t>(std::clamp(value.number(), -kMost, kMost));
}

bool Value::truthy() const {
  if (is_number()) return number() != 0;
  if (text() != nullptr) return !text()->empty();
  if (list() != nullptr) return !list()->empty();
  if (dict() != nullptr) return dict()->is_namespace || !dict()->entries.empty();
  return function() != nullptr;
}

bool operator==(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) return a.number() == b.number();
  if (a.data_.index() != b.data_.index()) return false;
  if (a.text() != nullptr) return *a.text() == *b.text();
  if (a.list() != nullptr) return *a.list() == *b.list();
  if (a.dict() != nullptr) {
    if (a.dict()->is_namespace || b.dict()->is_namespace) return a.dict() == b.dict();
    if (a.dict()->entries.size() != b.dict()->entries.size()) return false;
    for (const auto& [key, value] : a.dict()->entries) {
      const Value* other = b.dict()->find(key);
      if (other == nullptr || !(*other == value)) return false;
    }
    return true;
  }
  return a.function() == b.function();
}

namespace {

constexpr size_t kMostText = size_t{2} << 20;
constexpr int kMostIndent = 16;

// The shortest digits that read back as the same number, laid out as Python does: an exponent below 1e-4 and from 1e16.
std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const double size = std::abs(value);
  const auto format =
      size != 0 && (size < 1e-4 || size >= 1e16) ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, format).ptr;
  std::string text(buffer, end);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string quoted(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (char c : text) {
    if (c == quote || c == '\\') out += '\\';
    if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\r')
      out += "\\r";
    else
      out += c;
  }
  return out + quote;
}

std::string json_string(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    char escape[8];
    if (c == '"' || c == '\\') {
      out += '\\', out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\b') {
      out += "\\b";
    } else if (c == '\f') {
      out += "\\f";
    } else if (byte < 0x20) {
      std::snprintf(escape, sizeof escape, "\\u%04x", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + '"';
}

void write_json(const Value& value, int indent, int depth, std::string& out) {
  if (out.size() > kMostText) return;  // who asked will refuse it
  const auto line = [&](int level) {
    if (indent >= 0) out += '\n' + std::string(static_cast<size_t>(indent * level), ' ');
  };
  const char* comma = indent >= 0 ? "," : ", ";
  if (const auto* list = value.list()) {
    out += '[';
    for (size_t i = 0; i < list->size(); ++i) {
      if (i > 0) out += comma;
      line(depth + 1);
      write_json((*list)[i], indent, depth + 1, out);
    }
    if (!list->empty()) line(depth);
    out += ']';
  } else if (const auto* dict = value.dict(); dict != nullptr && !dict->is_namespace) {
    out += '{';
    for (size_t i = 0; i < dict->entries.size(); ++i) {
      if (i > 0) out += comma;
      line(depth + 1);
      out += json_string(dict->entries[i].first) + ": ";
      write_json(dict->entries[i].second, indent, depth + 1, out);
    }
    if (!dict->entries.empty()) line(depth);
    out += '}';
  } else if (value.text() != nullptr) {
    out += json_string(*value.text());
  } else if (value.is_none() || value.is_undefined()) {
    out += "null";
  } else if (const auto* b = value.boolean()) {
    out += *b ? "true" : "false";
  } else {
    out += to_text(value);
  }
}

}  // namespace

std::string to_repr(const Value& value) {
  if (value.text() != nullptr) return quoted(*value.text());
  std::string out;
  if (const auto* list = value.list()) {
    for (const Value& item : *list)
      if (out.size() < kMostText) out += (out.empty() ? "" : ", ") + to_repr(item);
    return "[" + out + "]";
  }
  if (const auto* dict = value.dict()) {
    if (dict->is_namespace) return "<Namespace>";
    for (const auto& [key, item] : dict->entries)
      if (out.size() < kMostText) out += (out.empty() ? "" : ", ") + quoted(key) + ": " + to_repr(item);
    return "{" + out + "}";
  }
  return to_text(value);
}

std::string to_text(const Value& value) {
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const auto* b = value.boolean()) return *b ? "True" : "False";
  if (const auto* i = value.integer()) return std::to_string(*i);
  if (const auto* d = value.real()) return real_text(*d);
  if (value.text() != nullptr) return *value.text();
  return value.function() != nullptr ? "<function>" : to_repr(value);
}

std::string to_json(const Value& value, int indent) {
  std::string out;
  write_json(value, std::min(indent, kMostIndent), 0, out);
  return out;
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> all;
  for (char c : text) {
    if ((static_cast<unsigned char>(c) & 0xc0) == 0x80 && !all.empty())
      all.back() += c;
    else
      all.emplace_back(1, c);
  }
  return all;
}

}  // namespace longleaf::jinja
