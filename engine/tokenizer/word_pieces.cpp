#include "engine/tokenizer/subwords.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {

Subwords word_pieces(const Vocabulary& vocabulary, std::string prefix, size_t most, TokenId unknown) {
  return [&vocabulary, prefix = std::move(prefix), most, unknown](std::string_view piece, std::vector<TokenId>& out) {
    const auto chars = characters(piece);
    const size_t n = chars.size() - 1, before = out.size();
    std::string wanted;
    bool made = n <= most;
    for (size_t from = 0; made && from < n;) {
      made = false;
      for (size_t to = n; to > from && !made; --to) {
        wanted = from > 0 ? prefix : "";
        wanted += piece.substr(chars[from].offset, chars[to].offset - chars[from].offset);
        const TokenId id = vocabulary.find_text(wanted);
        if (id < 0) continue;
        out.push_back(id);
        from = to;
        made = true;
      }
    }
    if (made) return;
    out.resize(before);
    if (unknown >= 0) out.push_back(unknown);
  };
}

}  // namespace longleaf
