#include "engine/tokenizer/pretokenize.h"

#include <array>
#include <span>

#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

enum class Class : uint8_t { Letter, Number, Space, Newline, Other };

struct Text {
  std::span<const Character> chars;
  std::span<const Class> classes;
  size_t size() const { return classes.size(); }
  Class at(size_t i) const { return i < size() ? classes[i] : Class::Space; }
  bool space(size_t i) const { return i < size() && (classes[i] == Class::Space || classes[i] == Class::Newline); }
  bool is(size_t i, Class c) const { return i < size() && classes[i] == c; }
  uint32_t code(size_t i) const { return i < size() ? chars[i].code : 0; }
};

Class class_of(uint32_t code) {
  if (code == '\r' || code == '\n') return Class::Newline;
  if (code == Character::kInvalid) return Class::Other;
  if (is_letter(code)) return Class::Letter;
  if (is_number(code)) return Class::Number;
  return is_white_space(code) ? Class::Space : Class::Other;
}

size_t run(const Text& t, size_t i, Class c) {
  while (t.is(i, c)) ++i;
  return i;
}

// 's 't 're 've 'm 'll 'd
size_t contraction(const Text& t, size_t i, bool any_case) {
  if (t.code(i) != '\'') return i;
  const auto lower = [&](size_t at) {
    const uint32_t c = t.code(at);
    return any_case && c >= 'A' && c <= 'Z' ? c + 32 : any_case && c == 0x17F ? 's' : c;  // U+017F folds to s
  };
  const uint32_t a = lower(i + 1), b = lower(i + 2);
  if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return i + 3;
  return a == 's' || a == 't' || a == 'm' || a == 'd' ? i + 2 : i;
}

// \s+(?!\S)|\s+ : a run of white space, but its last character is left for a word that follows.
size_t white_space(const Text& t, size_t i) {
  size_t end = i;
  while (t.space(end)) ++end;
  return end < t.size() && end - i > 1 ? end - 1 : end;
}

// 's… | ?L+ | ?N+ | ?[^ L N]+ | white space
size_t gpt2_piece(const Text& t, size_t i) {
  if (const size_t end = contraction(t, i, false); end > i) return end;
  const size_t body = t.code(i) == ' ' ? i + 1 : i;
  for (Class c : {Class::Letter, Class::Number, Class::Other})
    if (t.is(body, c)) return run(t, body, c);
  return white_space(t, i);
}

// '(?i)s… | [^\r\n L N]?L+ | N{1,digits} | ?[^ L N]+[\r\n]* | \s*[\r\n]+ | white space
size_t llama3_piece(const Text& t, size_t i, size_t digits) {
  if (const size_t end = contraction(t, i, true); end > i) return end;
  if (t.is(i, Class::Letter)) return run(t, i, Class::Letter);
  if ((t.is(i, Class::Other) || t.is(i, Class::Space)) && t.is(i + 1, Class::Letter))
    return run(t, i + 1, Class::Letter);
  if (t.is(i, Class::Number)) {
    size_t end = i + 1;
    while (end - i < digits && t.is(end, Class::Number)) ++end;
    return end;
  }
  const size_t body = t.code(i) == ' ' ? i + 1 : i;
  if (t.is(body, Class::Other)) return run(t, run(t, body, Class::Other), Class::Newline);
  size_t end = i, after_newline = i;
  for (; t.space(end); ++end)
    if (t.is(end, Class::Newline)) after_newline = end + 1;
  return after_newline > i ? after_newline : white_space(t, i);
}

void cut(PreTokenizer kind, const Text& t, std::string_view text, std::vector<std::string_view>& out) {
  for (size_t i = 0; i < t.size();) {
    const size_t end = kind == PreTokenizer::Llama3  ? llama3_piece(t, i, 3)
                       : kind == PreTokenizer::Qwen2 ? llama3_piece(t, i, 1)
                                                     : gpt2_piece(t, i);
    out.push_back(text.substr(t.chars[i].offset, t.chars[end].offset - t.chars[i].offset));
    i = end;
  }
}

}  // namespace

std::optional<PreTokenizer> pre_tokenizer_named(std::string_view name) {
  struct Family {
    std::string_view name;
    PreTokenizer kind;
  };
  static constexpr std::array families = {
      Family{"gpt-2", PreTokenizer::Gpt2},    Family{"llama-bpe", PreTokenizer::Llama3},
      Family{"llama3", PreTokenizer::Llama3}, Family{"llama-v3", PreTokenizer::Llama3},
      Family{"qwen2", PreTokenizer::Qwen2},   Family{"deepseek-r1-qwen", PreTokenizer::Qwen2},
      Family{"smollm", PreTokenizer::SmolLm}, Family{"starcoder", PreTokenizer::SmolLm},
  };
  for (const auto& family : families)
    if (family.name == name) return family.kind;
  return std::nullopt;
}

std::vector<std::string_view> pretokenize(PreTokenizer kind, std::string_view text) {
  const auto chars = characters(text);
  std::vector<Class> classes;
  classes.reserve(chars.size());
  for (size_t i = 0; i + 1 < chars.size(); ++i) classes.push_back(class_of(chars[i].code));

  std::vector<std::string_view> pieces;
  const std::span all_chars(chars);
  const std::span all_classes(classes);
  size_t begin = 0;
  const auto flush = [&](size_t end) {
    if (end > begin) cut(kind, {all_chars.subspan(begin), all_classes.subspan(begin, end - begin)}, text, pieces);
    begin = end;
  };
  if (kind == PreTokenizer::SmolLm) {  // every number character is a piece of its own; the rest is cut between them
    for (size_t i = 0; i < classes.size(); ++i) {
      if (classes[i] != Class::Number) continue;
      flush(i);
      flush(i + 1);
    }
  }
  flush(classes.size());
  return pieces;
}

}  // namespace longleaf
