#include "engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <cstdlib>

#include "engine/tokenizer/sources.h"
#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

constexpr std::string_view kSpaceMark = "\u2581";  // stands for a space in SentencePiece vocabularies

// Calls use(text, at_start) for what lies between the tokens found in `text`, and appends those.
template <typename F>
void split_at_tokens(const AddedTokens& tokens, std::string_view text, bool control, bool at_start, F use,
                     std::vector<TokenId>& out) {
  if (tokens.empty()) return use(text, at_start);
  for (size_t done = 0; done < text.size();) {
    const auto match = tokens.find(text, done, control);
    if (match.begin > done) use(text.substr(done, match.begin - done), at_start && done == 0);
    if (match.id >= 0) out.push_back(match.id);
    done = match.end;
  }
}

std::string spelled_bytes(std::string_view text) {
  std::string out;
  for (const Character& c : characters(text)) {
    if (c.offset == text.size()) break;
    if (const int byte = spelled_byte(c.code); byte >= 0)
      out += static_cast<char>(byte);
    else if (c.code != Character::kInvalid)
      append_utf8(c.code, out);
  }
  return out;
}

std::string marked_text(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const bool mark = text.compare(at, kSpaceMark.size(), kSpaceMark) == 0;
    out += mark ? ' ' : text[at];
    at += mark ? kSpaceMark.size() : 1;
  }
  return out;
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> Tokenizer::load(std::shared_ptr<const ModelFile> file) {
  auto parts = std::make_unique<TokenizerParts>();
  LL_RETURN_IF_ERROR(file->tokenizer_json().empty() ? read_gguf_tokenizer(*file, *parts)
                                                    : read_json_tokenizer(*file, *parts));
  parts->before.prepare();
  parts->after.prepare();
  std::shared_ptr<Tokenizer> tokenizer(new Tokenizer);
  tokenizer->parts_ = std::move(parts);
  tokenizer->file_ = std::move(file);
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

bool Tokenizer::adds_bos() const {
  return parts_->bos >= 0 && !parts_->prefix.empty() && parts_->prefix.front() == parts_->bos;
}

bool Tokenizer::ends_answer(TokenId id) const {
  return std::find(parts_->enders.begin(), parts_->enders.end(), id) != parts_->enders.end();
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, Special special) const {
  std::vector<TokenId> out;
  split_at_tokens(
      parts_->before, text, special == Special::AsToken, true,
      [&](std::string_view fragment, bool at_start) { encode_fragment(fragment, special, at_start, out); }, out);
  return out;
}

void Tokenizer::encode_fragment(std::string_view text, Special special, bool at_start,
                                std::vector<TokenId>& out) const {
  const std::string normal = parts_->normalizer ? parts_->normalizer(std::string(text)) : std::string(text);
  split_at_tokens(
      parts_->after, normal, special == Special::AsToken, at_start,
      [&](std::string_view words, bool first) { encode_words(words, first, out); }, out);
}

void Tokenizer::encode_words(std::string_view text, bool at_start, std::vector<TokenId>& out) const {
  std::vector<std::string> pieces;
  if (!text.empty()) pieces.emplace_back(text);
  if (parts_->pretokenizer) parts_->pretokenizer(pieces, at_start);
  for (const std::string& piece : pieces) parts_->subwords(piece, out);
}

std::string Tokenizer::decode(TokenId id) const {
  using Type = Vocabulary::Type;
  const std::string_view text = parts_->vocabulary.text(id);
  const Type type = parts_->vocabulary.type(id);
  if (type == Type::Control || type == Type::Unknown) return {};
  if (type == Type::Byte) return std::string(1, static_cast<char>(std::strtol(text.data() + 3, nullptr, 16)));
  if (parts_->spelling == TokenizerParts::Spelling::Marks) return marked_text(text);
  return type == Type::UserDefined ? std::string(text) : spelled_bytes(text);
}

std::string Tokenizer::decode(const std::vector<TokenId>& ids) const {
  std::string out;
  for (TokenId id : ids) out += decode(id);
  return out;
}

}  // namespace longleaf
