// The tokens of a model: their texts, kinds and ids. Const methods: any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace longleaf {

using TokenId = int32_t;

class Vocabulary {
 public:
  enum class Type : uint8_t { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

  // Sets token `id`; ids between get empty, unused tokens. `text` outlives the vocabulary. Of two tokens with one text
  // the first is found.
  void set(TokenId id, std::string_view text, Type type);
  // Keeps a copy of a text that no file holds.
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }
  void set_type(TokenId id, Type type) { types_[static_cast<size_t>(id)] = type; }
  // Adds unused tokens up to `size`.
  void pad(size_t size);

  size_t size() const { return texts_.size(); }
  bool contains(int64_t id) const { return id >= 0 && id < static_cast<int64_t>(size()); }
  std::string_view text(TokenId id) const { return texts_[static_cast<size_t>(id)]; }
  Type type(TokenId id) const { return types_[static_cast<size_t>(id)]; }
  TokenId find(std::string_view text) const;  // -1 when there is none
  // Likewise, but never a control token: for text that nobody may trust.
  TokenId find_text(std::string_view text) const;
  // The tokens <0x00>…<0xFF>, -1 where missing.
  std::vector<TokenId> byte_tokens() const;

 private:
  std::deque<std::string> kept_;
  std::vector<std::string_view> texts_;
  std::vector<Type> types_;
  std::unordered_map<std::string_view, TokenId> ids_;
};

}  // namespace longleaf
