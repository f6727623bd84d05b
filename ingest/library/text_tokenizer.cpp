#include "ingest/library/text_tokenizer.h"

#include <sqlite3.h>

#include <memory>
#include <string>
#include <vector>

namespace longleaf {
namespace {

struct Token {
  std::string text;
  int begin, end;
};

int collect(void* to, int, const char* token, int size, int begin, int end) {
  static_cast<std::vector<Token>*>(to)->push_back({std::string(token, static_cast<size_t>(size)), begin, end});
  return SQLITE_OK;
}

// What splits text in other scripts.
struct Splitter {
  fts5_tokenizer methods{};
  Fts5Tokenizer* instance = nullptr;
  ~Splitter() {
    if (instance != nullptr) methods.xDelete(instance);
  }

  int open(fts5_api* api, const char* name, std::vector<const char*> arguments) {
    void* user = nullptr;
    const int code = api->xFindTokenizer(api, name, &user, &methods);
    if (code != SQLITE_OK) return code;
    return methods.xCreate(user, arguments.data(), static_cast<int>(arguments.size()), &instance);
  }

  int tokenize(int flags, const char* text, int size, std::vector<Token>& out) const {
    return methods.xTokenize(instance, &out, flags, text, size, collect);
  }
};

struct Tokenizer {
  Splitter plain, stemming;
};

using EmitToken = int(void* context, int flags, const char* token, int size, int begin, int end);

// The length of the character at `at` if its script is written without spaces, else 0.
int bare_character(const char* text, int at, int size) {
  const auto byte = [&](int i) { return at + i < size ? static_cast<unsigned char>(text[at + i]) : 0u; };
  if (byte(0) == 0xF0 && byte(1) >= 0xA0 && byte(1) <= 0xB3 && at + 4 <= size) return 4;  // U+20000 …: rare ideographs
  if (byte(0) < 0xE0 || byte(0) > 0xEF || at + 3 > size) return 0;
  const unsigned code = (byte(0) & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
  const bool thai_and_its_kin = code >= 0xE00 && code <= 0xEFF, khmer_and_burmese = code >= 0x1000 && code <= 0x109F;
  const bool kana_and_ideographs = (code >= 0x3040 && code <= 0x30FF) || (code >= 0x3400 && code <= 0x9FFF);
  return thai_and_its_kin || khmer_and_burmese || kana_and_ideographs || (code >= 0xF900 && code <= 0xFAFF) ? 3 : 0;
}

int tokenize(Fts5Tokenizer* self, void* context, int flags, const char* text, int size, EmitToken* emit) {
  const auto* tokenizer = reinterpret_cast<const Tokenizer*>(self);
  // Each word as its stem and, at the same place, as it is written: the beginning of a word is none of its stem.
  const auto emit_run = [&](int begin, int end) {
    std::vector<Token> words, stems;
    int code = begin == end ? SQLITE_OK : tokenizer->plain.tokenize(flags, text + begin, end - begin, words);
    if (code == SQLITE_OK && begin < end) code = tokenizer->stemming.tokenize(flags, text + begin, end - begin, stems);
    const auto put = [&](const Token& token, int how) {
      return emit(context, how, token.text.data(), static_cast<int>(token.text.size()), begin + token.begin,
                  begin + token.end);
    };
    for (size_t i = 0; i < words.size() && i < stems.size() && code == SQLITE_OK; ++i) {
      if ((flags & FTS5_TOKENIZE_PREFIX) != 0) {
        code = put(words[i], 0);
        continue;
      }
      code = put(stems[i], 0);
      const bool also = (flags & FTS5_TOKENIZE_QUERY) == 0 && words[i].text != stems[i].text;
      if (code == SQLITE_OK && also) code = put(words[i], FTS5_TOKEN_COLOCATED);
    }
    return code;
  };
  int begin = 0;
  for (int at = 0; at < size;) {
    const int length = bare_character(text, at, size);
    if (length == 0) {
      ++at;
      continue;
    }
    int code = emit_run(begin, at);
    if (code == SQLITE_OK) code = emit(context, 0, text + at, length, at, at + length);
    if (code != SQLITE_OK) return code;
    begin = at += length;
  }
  return emit_run(begin, size);
}

int create(void* api_pointer, const char**, int, Fts5Tokenizer** out) {
  auto* api = static_cast<fts5_api*>(api_pointer);
  auto tokenizer = std::make_unique<Tokenizer>();
  int code = tokenizer->plain.open(api, "unicode61", {"remove_diacritics", "2"});
  if (code == SQLITE_OK) code = tokenizer->stemming.open(api, "porter", {"unicode61", "remove_diacritics", "2"});
  if (code == SQLITE_OK) *out = reinterpret_cast<Fts5Tokenizer*>(tokenizer.release());
  return code;
}

void destroy(Fts5Tokenizer* self) { delete reinterpret_cast<Tokenizer*>(self); }

}  // namespace

int register_text_tokenizer(sqlite3* connection) {
  fts5_api* api = nullptr;
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(connection, "SELECT fts5(?1)", -1, &statement, nullptr);
  if (code == SQLITE_OK) code = sqlite3_bind_pointer(statement, 1, &api, "fts5_api_ptr", nullptr);
  if (code == SQLITE_OK) sqlite3_step(statement);
  sqlite3_finalize(statement);
  if (code != SQLITE_OK || api == nullptr) return code != SQLITE_OK ? code : SQLITE_ERROR;
  fts5_tokenizer methods{create, destroy, tokenize};
  return api->xCreateTokenizer(api, "longleaf", api, &methods, nullptr);
}

}  // namespace longleaf
