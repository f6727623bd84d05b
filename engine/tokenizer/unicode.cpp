#include "engine/tokenizer/unicode.h"

#include <utf8proc.h>

#include <cstdlib>

namespace longleaf {
namespace {

int expected_length(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead < 0xE0) return 2;
  if (lead >= 0xE0 && lead < 0xF0) return 3;
  return lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
}

// The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
bool second_byte_fits(unsigned char lead, unsigned char second) {
  if (lead == 0xE0) return second >= 0xA0 && second < 0xC0;
  if (lead == 0xED) return second >= 0x80 && second < 0xA0;
  if (lead == 0xF0) return second >= 0x90 && second < 0xC0;
  if (lead == 0xF4) return second >= 0x80 && second < 0x90;
  return second >= 0x80 && second < 0xC0;
}

uint32_t decode(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])); };
  switch (bytes.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 31) << 6 | (byte(1) & 63);
    case 3:
      return (byte(0) & 15) << 12 | (byte(1) & 63) << 6 | (byte(2) & 63);
    default:
      return (byte(0) & 7) << 18 | (byte(1) & 63) << 12 | (byte(2) & 63) << 6 | (byte(3) & 63);
  }
}

}  // namespace

int character_length(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const int length = expected_length(lead);
  for (int i = 1; i < length; ++i) {
    if (static_cast<size_t>(i) >= text.size()) return 0;
    const auto next = static_cast<unsigned char>(text[static_cast<size_t>(i)]);
    if (i == 1 ? !second_byte_fits(lead, next) : (next & 0xC0) != 0x80) return 1;
  }
  return std::max(1, length);
}

std::vector<Character> characters(std::string_view text) {
  std::vector<Character> all;
  all.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size();) {
    const int length = character_length(text.substr(at));
    const bool valid = length > 1 || (length == 1 && static_cast<unsigned char>(text[at]) < 0x80);
    const auto bytes = valid ? static_cast<size_t>(length) : 1;
    all.push_back({valid ? decode(text.substr(at, bytes)) : Character::kInvalid, static_cast<uint32_t>(at)});
    at += bytes;
  }
  all.push_back({0, static_cast<uint32_t>(text.size())});
  return all;
}

namespace {
utf8proc_category_t category(uint32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }
}  // namespace

bool is_letter(uint32_t code) {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_number(uint32_t code) {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool is_mark(uint32_t code) {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
}

bool is_nonspacing_mark(uint32_t code) { return category(code) == UTF8PROC_CATEGORY_MN; }

bool is_other(uint32_t code) {
  const auto c = category(code);
  return c >= UTF8PROC_CATEGORY_CC && c <= UTF8PROC_CATEGORY_CO;
}

bool is_white_space(uint32_t code) {
  if (code >= 0x2000 && code <= 0x200A) return true;
  switch (code) {
    case '\t':
    case '\n':
    case 0x0B:
    case 0x0C:
    case '\r':
    case ' ':
    case 0x85:
    case 0xA0:
    case 0x1680:
    case 0x2028:
    case 0x2029:
    case 0x202F:
    case 0x205F:
    case 0x3000:
      return true;
    default:
      return false;
  }
}

void append_utf8(uint32_t code, std::string& out) {
  const auto push = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) {
    push(code);
  } else if (code < 0x800) {
    push(0xC0 | code >> 6), push(0x80 | (code & 63));
  } else if (code < 0x10000) {
    push(0xE0 | code >> 12), push(0x80 | (code >> 6 & 63)), push(0x80 | (code & 63));
  } else {
    push(0xF0 | code >> 18), push(0x80 | (code >> 12 & 63)), push(0x80 | (code >> 6 & 63)), push(0x80 | (code & 63));
  }
}

}  // namespace longleaf
