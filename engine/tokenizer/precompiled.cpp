// SentencePiece's table of replacements: a double-array trie over the bytes to replace, and the texts that come
// instead. Source: the SentencePiece project's model format; the trie: Aoe, "An efficient digital search algorithm by
// using a double-array structure", 1989, in the layout of the darts-clone library.
#include <utf8proc.h>

#include <cstring>
#include <memory>
#include <optional>

#include "engine/tokenizer/normalizer.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

constexpr size_t kMaxText = 256;   // bytes that come instead of a cluster; the longest in use has 33
constexpr size_t kMaxCluster = 6;  // bytes; longer clusters are looked up character by character

class Table {
 public:
  static std::optional<Table> read(std::string bytes) {
    Table table;
    uint32_t size = 0;
    if (bytes.size() < sizeof size) return std::nullopt;
    std::memcpy(&size, bytes.data(), sizeof size);
    if (size == 0 || size % 4 != 0 || size > bytes.size() - sizeof size) return std::nullopt;
    table.units_.resize(size / 4);
    std::memcpy(table.units_.data(), bytes.data() + sizeof size, size);
    table.texts_ = bytes.substr(sizeof size + size);
    if (table.texts_.empty() || table.texts_.back() != '\0') return std::nullopt;
    return table;
  }

  // What comes instead of the shortest known beginning of `text`; nullptr when there is none.
  const char* find(std::string_view text) const {
    size_t node = offset(units_[0]);
    for (char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      node ^= byte;
      if (byte == 0 || node >= units_.size() || label(units_[node]) != byte) return nullptr;
      const uint32_t unit = units_[node];
      node ^= offset(unit);
      if (!has_leaf(unit)) continue;
      if (node >= units_.size()) return nullptr;
      const uint32_t value = units_[node] & 0x7FFFFFFF;
      return value < texts_.size() && texts_.find('\0', value) - value <= kMaxText ? texts_.c_str() + value : nullptr;
    }
    return nullptr;
  }

 private:
  static uint32_t label(uint32_t unit) { return unit & (0x80000000u | 0xFF); }
  static bool has_leaf(uint32_t unit) { return (unit >> 8 & 1) != 0; }
  static size_t offset(uint32_t unit) { return static_cast<size_t>(unit >> 10) << ((unit >> 9 & 1) << 3); }

  std::vector<uint32_t> units_;
  std::string texts_;
};

// The text in grapheme clusters, as Unicode's annex 29 cuts them.
std::vector<std::string_view> clusters(std::string_view text) {
  const auto chars = characters(text);
  std::vector<std::string_view> out;
  utf8proc_int32_t state = 0;
  size_t begin = 0;
  for (size_t i = 1; i < chars.size(); ++i) {
    const bool last = i + 1 == chars.size();
    const auto code = [&](size_t at) {
      return static_cast<utf8proc_int32_t>(chars[at].code == Character::kInvalid ? 0xFFFD : chars[at].code);
    };
    if (!last && !utf8proc_grapheme_break_stateful(code(i - 1), code(i), &state)) continue;
    out.push_back(text.substr(begin, chars[i].offset - begin));
    begin = chars[i].offset;
  }
  return out;
}

std::string replaced(const Table& table, const std::string& text) {
  std::string out;
  for (const std::string_view cluster : clusters(text)) {
    const char* whole = cluster.size() < kMaxCluster ? table.find(cluster) : nullptr;
    if (whole != nullptr) {
      out += whole;
      continue;
    }
    const auto chars = characters(cluster);
    for (size_t i = 0; i + 1 < chars.size(); ++i) {
      const auto one = cluster.substr(chars[i].offset, chars[i + 1].offset - chars[i].offset);
      const char* instead = table.find(one);
      instead == nullptr ? out.append(one) : out.append(instead);
    }
  }
  return out;
}

}  // namespace

Result<Normalizer> precompiled(std::string bytes) {
  auto table = Table::read(std::move(bytes));
  if (!table) return Status(Code::Corrupt, "the table of replacements is damaged");
  return Normalizer(
      [table = std::make_shared<const Table>(std::move(*table))](std::string text) { return replaced(*table, text); });
}

}  // namespace longleaf
