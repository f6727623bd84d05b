#include "ingest/layout/bidi.h"

#include <algorithm>
#include <cctype>
#include <string_view>

namespace longleaf {
namespace {

enum class Direction { Neutral, Left, Right };

struct Letter {
  std::string_view bytes;
  Direction direction;
  bool digit;
};

char32_t decode(std::string_view bytes) {
  const auto at = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(bytes[i])); };
  if (bytes.size() == 2) return (at(0) & 31) << 6 | (at(1) & 63);
  if (bytes.size() == 3) return (at(0) & 15) << 12 | (at(1) & 63) << 6 | (at(2) & 63);
  if (bytes.size() == 4) return (at(0) & 7) << 18 | (at(1) & 63) << 12 | (at(2) & 63) << 6 | (at(3) & 63);
  return at(0);
}

// Blocks of right-to-left scripts (Unicode Standard Annex 9, classes R and AL), without their digits.
bool is_rtl(char32_t u) {
  if (u >= 0x660 && u <= 0x669) return false;
  if (u >= 0x6F0 && u <= 0x6F9) return false;
  return (u >= 0x590 && u <= 0x8FF) || (u >= 0xFB1D && u <= 0xFDFF) || (u >= 0xFE70 && u <= 0xFEFC) ||
         (u >= 0x10800 && u <= 0x10FFF) || (u >= 0x1E800 && u <= 0x1EFFF);
}

std::vector<Letter> letters_of(std::string_view text) {
  std::vector<Letter> letters;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t n = std::min<size_t>(lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4, text.size() - i);
    const auto bytes = text.substr(i, n);
    const char32_t u = decode(bytes);
    const bool digit = (u >= '0' && u <= '9') || (u >= 0x660 && u <= 0x669) || (u >= 0x6F0 && u <= 0x6F9);
    const bool latin = (u >= 'A' && u <= 'Z') || (u >= 'a' && u <= 'z') || (u >= 0xC0 && u < 0x590) ||
                       (u >= 0x900 && u < 0x2000) || (u >= 0x3040 && u < 0xFB00);
    letters.push_back({bytes, is_rtl(u) ? Direction::Right : latin ? Direction::Left : Direction::Neutral, digit});
    i += n;
  }
  return letters;
}

Direction direction_of(const Word& word) {
  const auto is_ascii = [](unsigned char c) { return c < 0x80; };
  const auto is_latin = [](unsigned char c) { return std::isalpha(c) != 0; };
  if (std::all_of(word.text.begin(), word.text.end(), is_ascii))
    return std::any_of(word.text.begin(), word.text.end(), is_latin) ? Direction::Left : Direction::Neutral;
  bool left = false;
  for (const Letter& letter : letters_of(word.text)) {
    if (letter.direction == Direction::Right) return Direction::Right;
    left |= letter.direction == Direction::Left;
  }
  return left ? Direction::Left : Direction::Neutral;
}

// Letters right to left; runs of digits and of Latin letters stay as they are.
std::string turned(const std::string& text) {
  const auto letters = letters_of(text);
  const auto keeps = [&](size_t i) { return letters[i].digit || letters[i].direction == Direction::Left; };
  std::string out;
  for (size_t end = letters.size(); end > 0;) {
    size_t begin = end - 1;
    while (keeps(end - 1) && begin > 0 && keeps(begin - 1)) --begin;
    for (size_t i = begin; i < end; ++i) out += letters[i].bytes;
    end = begin;
  }
  return out;
}

}  // namespace

bool is_right_to_left(const Word& word) { return direction_of(word) == Direction::Right; }

bool is_right_to_left(const std::vector<Word>& line) {
  const auto is_turned = [](const Word& word) { return is_right_to_left(word); };
  if (std::none_of(line.begin(), line.end(), is_turned)) return false;
  size_t right = 0, left = 0;
  for (const Word& word : line)
    for (const Letter& letter : letters_of(word.text)) {
      right += letter.direction == Direction::Right ? 1 : 0;
      left += letter.direction == Direction::Left ? 1 : 0;
    }
  return right > left;
}

void to_reading_order(std::vector<Word>& line) {
  const bool whole_line = is_right_to_left(line);
  std::vector<Direction> directions;
  for (Word& word : line) {
    directions.push_back(direction_of(word));
    if (directions.back() == Direction::Right) word.text = turned(word.text);
  }
  if (!whole_line) return;
  const auto stays = [&](size_t i) { return directions[i] == Direction::Left; };
  std::vector<Word> out;
  for (size_t end = line.size(); end > 0;) {
    size_t begin = end - 1;
    while (stays(end - 1) && begin > 0 && stays(begin - 1)) --begin;
    for (size_t i = begin; i < end; ++i) out.push_back(std::move(line[i]));
    end = begin;
  }
  // On the page the space stands on the other side now.
  for (Word& word : out) word.space_after = true;
  line = std::move(out);
}

}  // namespace longleaf
