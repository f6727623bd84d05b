#include "engine/evaluation/text_scores.h"

#include <utf8proc.h>

#include <algorithm>
#include <map>

#include "engine/tokenizer/unicode.h"

namespace longleaf {
namespace {

using Words = std::vector<std::string>;

// With the two letters whose lower case Unicode's SpecialCasing.txt makes of more than the letter itself: I with a dot,
// and sigma at the end of a word.
std::string lower_case(std::string_view text) {
  constexpr uint32_t kDottedI = 0x130, kDot = 0x307, kSigma = 0x3A3, kFinalSigma = 0x3C2;
  std::string out;
  const auto all = characters(text);
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const uint32_t code = all[i].code;
    const bool ends_word = i > 0 && is_letter(all[i - 1].code) && !is_letter(all[i + 1].code);
    if (code == Character::kInvalid)
      out += text[all[i].offset];
    else if (code == kSigma && ends_word)
      append_utf8(kFinalSigma, out);
    else
      append_utf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code))), out);
    if (code == kDottedI) append_utf8(kDot, out);
  }
  return out;
}

bool is_ascii(uint32_t code, std::string_view of) {
  return code < 128 && of.find(static_cast<char>(code)) != std::string_view::npos;
}

// Words between white space, without ASCII punctuation and the articles.
Words squad_words(std::string_view text) {
  constexpr std::string_view kPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
  const std::string lower = lower_case(text);
  const auto all = characters(lower);
  Words words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty() && word != "a" && word != "an" && word != "the") words.push_back(word);
    word.clear();
  };
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    if (all[i].code != Character::kInvalid && is_white_space(all[i].code))
      end_word();
    else if (!is_ascii(all[i].code, kPunctuation))
      word += lower.substr(all[i].offset, all[i + 1].offset - all[i].offset);
  }
  end_word();
  return words;
}

// Runs of ASCII letters and digits.
Words rouge_words(std::string_view text) {
  Words words(1);
  for (const char c : lower_case(text)) {
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
      words.back() += c;
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  return words;
}

double harmonic(double common, size_t n_answer, size_t n_reference) {
  if (common == 0) return 0;
  const double precision = common / static_cast<double>(n_answer), recall = common / static_cast<double>(n_reference);
  return 2 * precision * recall / (precision + recall);
}

double f1_of(const Words& answer, const Words& reference) {
  if (answer.empty() || reference.empty()) return answer.empty() && reference.empty() ? 1 : 0;
  std::map<std::string, int> left;
  for (const std::string& word : reference) ++left[word];
  double common = 0;
  for (const std::string& word : answer)
    if (auto it = left.find(word); it != left.end() && it->second > 0) --it->second, ++common;
  return harmonic(common, answer.size(), reference.size());
}

double rouge_l_of(const Words& answer, const Words& reference) {
  if (answer.empty() || reference.empty()) return 0;
  std::vector<int> lengths(reference.size() + 1, 0);
  for (const std::string& word : answer) {
    int diagonal = 0;
    for (size_t i = 1; i <= reference.size(); ++i) {
      const int above = lengths[i];
      lengths[i] = word == reference[i - 1] ? diagonal + 1 : std::max(above, lengths[i - 1]);
      diagonal = above;
    }
  }
  return harmonic(lengths.back(), answer.size(), reference.size());
}

}  // namespace

TextScores score_text(std::string_view answer, const std::vector<std::string>& references) {
  TextScores best;
  const Words own = squad_words(answer), own_rouge = rouge_words(answer);
  for (const std::string& reference : references) {
    const Words words = squad_words(reference);
    best.exact = std::max(best.exact, own == words ? 1.0 : 0.0);
    best.f1 = std::max(best.f1, f1_of(own, words));
    best.rouge_l = std::max(best.rouge_l, rouge_l_of(own_rouge, rouge_words(reference)));
  }
  return best;
}

}  // namespace longleaf
