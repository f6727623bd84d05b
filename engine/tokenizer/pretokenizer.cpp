#include "engine/tokenizer/pretokenizer.h"

#include <array>
#include <unordered_map>

#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

// 's… | ?letters | ?numbers | ?others | white space, but its last character is left for a word that follows
constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kPunctuation = R"([\p{P}$+<=>^`|~])";  // also what ASCII calls punctuation

// Printable Latin-1 bytes are themselves, the others are numbered from U+0100 on.
struct ByteSpelling {
  std::array<std::string, 256> spell;
  std::unordered_map<uint32_t, uint8_t> byte;
  ByteSpelling() {
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      const uint32_t code = printable ? b : next++;
      append_utf8(code, spell[b]);
      byte[code] = static_cast<uint8_t>(b);
    }
  }
};

const ByteSpelling& byte_spelling() {
  static const ByteSpelling table;
  return table;
}

// Pieces of one text, made from its parts in order.
class Cutter {
 public:
  Cutter(std::string_view text, Behaviour behaviour, bool invert, std::vector<std::string>& out)
      : text_(text), behaviour_(behaviour), invert_(invert), out_(out) {}

  void matched(size_t begin, size_t end) {
    part(done_, begin, invert_);
    part(begin, end, !invert_);
    done_ = end;
  }
  void finish() { part(done_, text_.size(), invert_); }

 private:
  void part(size_t begin, size_t end, bool separates) {
    if (begin == end) return;
    const bool joins =
        pieces_of_this_text_ > 0 && ((behaviour_ == Behaviour::MergedWithPrevious && separates && !last_separates_) ||
                                     (behaviour_ == Behaviour::MergedWithNext && !separates && last_separates_) ||
                                     (behaviour_ == Behaviour::Contiguous && separates == last_separates_));
    last_separates_ = separates;
    if (behaviour_ == Behaviour::Removed && separates) return;
    const std::string_view piece = text_.substr(begin, end - begin);
    if (joins) return void(out_.back() += piece);
    out_.emplace_back(piece);
    ++pieces_of_this_text_;
  }

  std::string_view text_;
  Behaviour behaviour_;
  bool invert_;
  std::vector<std::string>& out_;
  size_t done_ = 0, pieces_of_this_text_ = 0;
  bool last_separates_ = false;
};

void cut(std::vector<std::string>& pieces, const Regex& pattern, Behaviour behaviour, bool invert) {
  std::vector<std::string> out;
  for (const std::string& piece : pieces) {
    Cutter cutter(piece, behaviour, invert, out);
    pattern.find_all(piece, [&](size_t begin, size_t end) { cutter.matched(begin, end); });
    cutter.finish();
  }
  pieces = std::move(out);
}

std::string spelled(std::string_view bytes) {
  std::string out;
  for (char c : bytes) out += byte_spelling().spell[static_cast<unsigned char>(c)];
  return out;
}

}  // namespace

int spelled_byte(uint32_t code) {
  const auto it = byte_spelling().byte.find(code);
  return it == byte_spelling().byte.end() ? -1 : it->second;
}

PreTokenizer split(Regex pattern, Behaviour behaviour, bool invert) {
  return [pattern = std::move(pattern), behaviour, invert](std::vector<std::string>& pieces, bool) {
    cut(pieces, pattern, behaviour, invert);
  };
}

PreTokenizer byte_level(bool space_in_front, bool by_rules) {
  return [space_in_front, by_rules, rules = Regex::known(kGpt2)](std::vector<std::string>& pieces, bool) {
    if (space_in_front)
      for (std::string& piece : pieces)
        if (!piece.starts_with(' ')) piece.insert(0, 1, ' ');
    if (by_rules) cut(pieces, rules, Behaviour::Isolated, false);
    for (std::string& piece : pieces) piece = spelled(piece);
  };
}

PreTokenizer metaspace(std::string mark, Prepend prepend, bool by_marks) {
  const Regex marks = Regex::literal(mark);
  return [mark = std::move(mark), prepend, by_marks, marks](std::vector<std::string>& pieces, bool at_start) {
    for (std::string& piece : pieces) {
      std::string marked;
      for (char c : piece) c == ' ' ? marked.append(mark) : marked.append(1, c);
      const bool wanted = prepend == Prepend::Always || (prepend == Prepend::First && at_start);
      piece = wanted && !marked.starts_with(mark) ? mark + marked : marked;
      at_start = false;
    }
    if (by_marks) cut(pieces, marks, Behaviour::MergedWithNext, false);
  };
}

PreTokenizer digits(bool each) { return split(Regex::known(each ? R"(\p{N})" : R"(\p{N}+)"), Behaviour::Isolated); }

PreTokenizer punctuation(Behaviour behaviour) { return split(Regex::known(kPunctuation), behaviour); }

PreTokenizer white_space() {
  return split(Regex::known("[" LL_WORD "]+|[^" LL_WORD R"(\s]+)"), Behaviour::Removed, true);
}

PreTokenizer white_space_split() { return split(Regex::known(R"(\s+)"), Behaviour::Removed); }

PreTokenizer bert_words() { return in_sequence({white_space_split(), punctuation(Behaviour::Isolated)}); }

PreTokenizer in_sequence(std::vector<PreTokenizer> steps) {
  return [steps = std::move(steps)](std::vector<std::string>& pieces, bool at_start) {
    for (const PreTokenizer& step : steps) step(pieces, at_start);
  };
}

}  // namespace longleaf
