#include "engine/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>

#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

// The steps in use make a text a few times as long at most; one that makes it explode is left out.
bool explodes(size_t out, size_t in) { return out > 16 * in + (1 << 16); }

// Calls f(code, bytes) for every character; code is Character::kInvalid for a byte that is not UTF-8.
template <typename F>
void for_each_character(std::string_view text, F f) {
  const auto chars = characters(text);
  for (size_t i = 0; i + 1 < chars.size(); ++i)
    f(chars[i].code, text.substr(chars[i].offset, chars[i + 1].offset - chars[i].offset));
}

bool is_ascii(std::string_view text) {
  for (char c : text)
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  return true;
}

void append_normal(std::string_view valid, utf8proc_option_t options, std::string& out) {
  utf8proc_uint8_t* mapped = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()),
                                   static_cast<utf8proc_ssize_t>(valid.size()), &mapped, options);
  if (length >= 0)
    out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(length));
  else
    out.append(valid);
  std::free(mapped);
}

bool is_combining(uint32_t code) {
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(code))->combining_class != 0;
}

// Runs of combining marks are sorted in time that grows with their square: longer ones than people write are cut
// (Unicode, annex 15: the stream-safe form).
constexpr int kMostMarks = 30;

std::string normal(const std::string& text, utf8proc_option_t options) {
  std::string out;
  size_t begin = 0, end = 0;  // of the run that is taken at once
  int marks = 0;
  const auto take = [&] { append_normal(std::string_view(text).substr(begin, end - begin), options, out); };
  for_each_character(text, [&](uint32_t code, std::string_view bytes) {
    const bool invalid = code == Character::kInvalid;
    marks = !invalid && is_combining(code) ? marks + 1 : 0;
    if (invalid || marks > kMostMarks) {
      take();
      begin = end;
      marks = 0;
    }
    if (invalid) {
      out += bytes;
      begin = end + bytes.size();
    }
    end += bytes.size();
  });
  take();
  return out;
}

utf8proc_option_t options_of(NormalForm form) {
  const bool composed = form == NormalForm::C || form == NormalForm::KC;
  const bool compatible = form == NormalForm::KC || form == NormalForm::KD;
  return static_cast<utf8proc_option_t>(UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                                        (compatible ? UTF8PROC_COMPAT : 0));
}

void append_lowercase(uint32_t code, std::string& out) {
  if (code == 0x130) return void(out += "i\u0307");  // the one character whose lower case is two
  append_utf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))), out);
}

// Ideographs that BERT's authors set apart.
bool is_ideograph(uint32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B73F) || (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

void append_clean(uint32_t code, std::string& out) {
  if (code == '\t' || code == '\n' || code == '\r') return void(out += ' ');
  if (code == 0 || code == 0xFFFD || is_other(code)) return;
  is_white_space(code) ? void(out += ' ') : append_utf8(code, out);
}

std::string spread_ideographs(const std::string& text) {
  std::string out;
  for_each_character(text, [&](uint32_t code, std::string_view bytes) {
    const bool alone = is_ideograph(code);
    if (alone) out += ' ';
    out += bytes;
    if (alone) out += ' ';
  });
  return out;
}

std::string without(const std::string& text, bool (*unwanted)(uint32_t)) {
  std::string out;
  for_each_character(text, [&](uint32_t code, std::string_view bytes) {
    if (code == Character::kInvalid || !unwanted(code)) out += bytes;
  });
  return out;
}

std::string lower(const std::string& text) {
  std::string out;
  for_each_character(text, [&](uint32_t code, std::string_view bytes) {
    if (code == Character::kInvalid)
      out += bytes;
    else
      append_lowercase(code, out);
  });
  return out;
}

std::string clean(const std::string& text) {
  std::string out;
  for_each_character(text, [&](uint32_t code, std::string_view) {
    if (code != Character::kInvalid) append_clean(code, out);
  });
  return out;
}

}  // namespace

Normalizer normal_form(NormalForm form) {
  const auto options = options_of(form);
  return [options](std::string text) { return is_ascii(text) ? text : normal(text, options); };
}

Normalizer lowercase() {
  return [](std::string text) { return lower(text); };
}

Normalizer strip_accents() {
  return [](std::string text) { return is_ascii(text) ? text : without(text, is_mark); };
}

Normalizer strip(bool left, bool right) {
  return [left, right](std::string text) {
    const auto chars = characters(text);
    size_t begin = 0, end = chars.size() - 1;
    while (left && begin < end && is_white_space(chars[begin].code)) ++begin;
    while (right && end > begin && is_white_space(chars[end - 1].code)) --end;
    return text.substr(chars[begin].offset, chars[end].offset - chars[begin].offset);
  };
}

Normalizer prepend(std::string front) {
  return [front = std::move(front)](std::string text) {
    return text.empty() || explodes(front.size(), 0) ? text : front + text;
  };
}

Normalizer replace(std::string what, std::string with) {
  return [what = std::move(what), with = std::move(with)](std::string text) {
    if (what.empty() || text.find(what) == std::string::npos) return text;
    std::string out;
    size_t begin = 0;
    for (size_t at; (at = text.find(what, begin)) != std::string::npos; begin = at + what.size()) {
      out.append(text, begin, at - begin).append(with);
      if (explodes(out.size(), text.size())) return text;
    }
    return out.append(text, begin);
  };
}

Normalizer replace(Regex what, std::string with) {
  return [what = std::move(what), with = std::move(with)](std::string text) {
    std::string out;
    size_t done = 0;
    what.find_all(text, [&](size_t begin, size_t end) {
      if (explodes(out.size(), text.size())) return;
      out.append(text, done, begin - done).append(with);
      done = end;
    });
    return explodes(out.size(), text.size()) ? text : out.append(text, done);
  };
}

Normalizer squeeze_spaces() {
  return [](std::string text) {
    std::string out;
    for (char c : text)
      if (c != ' ' || (!out.empty() && out.back() != ' ')) out += c;
    if (!out.empty() && out.back() == ' ') out.pop_back();
    return out;
  };
}

Normalizer bert(BertNormalization options) {
  return [options](std::string text) {
    if (options.clean) text = clean(text);
    if (options.spread_chinese && !is_ascii(text)) text = spread_ideographs(text);
    if (options.strip_accents && !is_ascii(text))
      text = without(normal(text, options_of(NormalForm::D)), is_nonspacing_mark);
    return options.lowercase ? lower(text) : text;
  };
}

Normalizer in_sequence(std::vector<Normalizer> steps) {
  return [steps = std::move(steps)](std::string text) {
    const std::string original = text;
    for (const Normalizer& step : steps) {
      text = step(std::move(text));
      if (explodes(text.size(), original.size())) return original;
    }
    return text;
  };
}

}  // namespace longleaf
