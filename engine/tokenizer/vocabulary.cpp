#include "engine/tokenizer/vocabulary.h"

#include <cstdio>

namespace longleaf {

void Vocabulary::set(TokenId id, std::string_view text, Type type) {
  pad(static_cast<size_t>(id) + 1);
  texts_[static_cast<size_t>(id)] = text;
  types_[static_cast<size_t>(id)] = type;
  ids_.emplace(text, id);
}

void Vocabulary::pad(size_t size) {
  if (size <= texts_.size()) return;
  texts_.resize(size);
  types_.resize(size, Type::Unused);
}

TokenId Vocabulary::find(std::string_view text) const {
  const auto it = ids_.find(text);
  return it == ids_.end() ? -1 : it->second;
}

TokenId Vocabulary::find_text(std::string_view text) const {
  const TokenId id = find(text);
  return id >= 0 && type(id) == Type::Control ? -1 : id;
}

std::vector<TokenId> Vocabulary::byte_tokens() const {
  std::vector<TokenId> ids;
  for (int b = 0; b < 256; ++b) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    ids.push_back(find(name));
  }
  return ids;
}

}  // namespace longleaf
