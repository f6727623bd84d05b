#include "engine/tokenizer/regex.h"

#include <oniguruma.h>

#include <cctype>
#include <mutex>
#include <string>

#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

constexpr unsigned long kMaxSteps = 1'000'000;    // of one match; the patterns in use take a few for each character
constexpr unsigned long kMaxSearch = 10'000'000;  // of a search for one
constexpr unsigned kMaxStack = 1'000'000;         // places to go back to

// `text` itself, or a copy of the same length in which bytes that are not UTF-8 are control characters.
std::string_view searchable(std::string_view text, std::string& copy) {
  for (size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const int length = byte < 0x80 ? 1 : character_length(text.substr(at));
    if (byte >= 0x80 && length < 2) {
      if (copy.empty()) copy = text;
      copy[at] = '\x01';
    }
    at += static_cast<size_t>(length < 1 ? 1 : length);
  }
  return copy.empty() ? text : std::string_view(copy);
}

const OnigUChar* bytes_of(std::string_view text) { return reinterpret_cast<const OnigUChar*>(text.data()); }

}  // namespace

struct Regex::Compiled {
  regex_t* regex = nullptr;
  ~Compiled() {
    if (regex != nullptr) onig_free(regex);
  }
};

Result<Regex> Regex::compile(std::string_view pattern) {
  static std::once_flag once;
  std::call_once(once, [] {
    OnigEncoding encodings[] = {ONIG_ENCODING_UTF8};
    onig_initialize(encodings, 1);
  });
  auto compiled = std::make_shared<Compiled>();
  OnigErrorInfo error;
  const int code = onig_new(&compiled->regex, bytes_of(pattern), bytes_of(pattern) + pattern.size(), ONIG_OPTION_NONE,
                            ONIG_ENCODING_UTF8, ONIG_SYNTAX_DEFAULT, &error);
  if (code == ONIG_NORMAL) return Regex(std::move(compiled));
  return Status(Code::Unsupported, "the regular expression " + std::string(pattern) + " cannot be used");
}

Regex Regex::known(std::string_view pattern) {
  auto compiled = compile(pattern);
  return compiled.ok() ? std::move(*compiled) : Regex(std::make_shared<Compiled>());  // out of memory: matches nothing
}

Regex Regex::literal(std::string_view text) {
  std::string pattern;
  for (char c : text) {
    if (std::ispunct(static_cast<unsigned char>(c))) pattern += '\\';
    pattern += c;
  }
  return known(pattern);
}

void Regex::find_all(std::string_view given, const std::function<void(size_t, size_t)>& found) const {
  if (compiled_->regex == nullptr) return;
  std::string copy;
  const std::string_view text = searchable(given, copy);
  const OnigUChar *begin = bytes_of(text), *end = begin + text.size();
  OnigRegion region{};
  OnigMatchParam* limits = onig_new_match_param();
  onig_initialize_match_param(limits);
  onig_set_retry_limit_in_match_of_match_param(limits, kMaxSteps);
  onig_set_retry_limit_in_search_of_match_param(limits, kMaxSearch);
  onig_set_match_stack_limit_size_of_match_param(limits, kMaxStack);
  for (const OnigUChar* at = begin; at < end;) {
    if (onig_search_with_param(compiled_->regex, begin, end, at, end, &region, ONIG_OPTION_NONE, limits) < 0) break;
    const auto first = static_cast<size_t>(region.beg[0]), last = static_cast<size_t>(region.end[0]);
    if (last > first) found(first, last);
    const size_t next = std::max(last, static_cast<size_t>(at - begin));
    if (next >= text.size()) break;
    at = begin + (last > first ? next : next + static_cast<size_t>(std::max(1, character_length(text.substr(next)))));
  }
  onig_region_free(&region, 0);
  onig_free_match_param(limits);
}

}  // namespace longleaf
