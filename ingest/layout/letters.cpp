#include "ingest/layout/letters.h"

#include <utf8proc.h>

#include <array>

namespace longleaf {
namespace {

char32_t character_at(std::string_view text, size_t at) {
  utf8proc_int32_t c = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                   static_cast<utf8proc_ssize_t>(text.size() - at), &c);
  return c < 0 ? U'\uFFFD' : static_cast<char32_t>(c);
}

}  // namespace

char32_t first_character(std::string_view text) { return text.empty() ? 0 : character_at(text, 0); }

char32_t last_character(std::string_view text) {
  if (text.empty()) return 0;
  size_t at = text.size() - 1;
  while (at > 0 && text.size() - at < 4 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return character_at(text, at);
}

bool is_small_letter(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LL; }

bool is_letter(char32_t c) {
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool has_letter_or_digit(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const char32_t c = character_at(text, at);
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
    if (is_letter(c) || (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO)) return true;
    do ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80);
  }
  return false;
}

bool is_written_without_spaces(char32_t c) {
  return (c >= 0x2E80 && c <= 0xA4CF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0xFF00 && c <= 0xFF60) ||
         (c >= 0xE00 && c <= 0xEFF) || (c >= 0x20000 && c <= 0x3FFFF);
}

std::string_view spelled_out(char32_t c, std::string_view own) {
  static constexpr std::array<std::string_view, 7> kLigatures = {"ff", "fi", "fl", "ffi", "ffl", "st", "st"};
  if (c >= 0xFB00 && c <= 0xFB06) return kLigatures[c - 0xFB00];
  return c == 0xAD ? std::string_view() : c == 0xA0 ? std::string_view(" ") : own;
}

}  // namespace longleaf
