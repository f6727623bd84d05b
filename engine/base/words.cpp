#include "engine/base/words.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace longleaf {
namespace {

// English words that build questions and sentences. Other languages lose nothing: rare words weigh more anyway.
constexpr std::array<std::string_view, 68> kFunctionWords = {
    "a",    "about", "an",     "and",  "are",      "as",        "at",     "be",    "been",  "by",    "can",  "could",
    "did",  "do",    "does",   "for",  "from",     "had",       "has",    "have",  "how",   "i",     "if",   "in",
    "into", "is",    "it",     "its",  "many",     "me",        "much",   "of",    "on",    "or",    "s",    "say",
    "says", "shall", "should", "that", "the",      "their",     "them",   "there", "these", "they",  "this", "those",
    "to",   "was",   "were",   "what", "when",     "where",     "which",  "who",   "whom",  "whose", "why",  "will",
    "with", "would", "you",    "your", "document", "according", "please", "tell"};

constexpr size_t kShortestStem = 4;

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (size_t i = 0; i <= text.size(); ++i) {
    const auto c = static_cast<unsigned char>(i < text.size() ? text[i] : ' ');
    // U+2000..U+203F in UTF-8: curly quotes, dashes, bullets.
    const bool punctuation = c == 0xE2 && i + 2 < text.size() && static_cast<unsigned char>(text[i + 1]) == 0x80;
    if (!punctuation && (std::isalnum(c) != 0 || c >= 0x80)) {
      word += static_cast<char>(std::tolower(c));
      continue;
    }
    if (punctuation) i += 2;
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  }
  return words;
}

bool is_function_word(std::string_view word) {
  return std::find(kFunctionWords.begin(), kFunctionWords.end(), word) != kFunctionWords.end();
}

std::vector<std::string> content_words(std::string_view text) {
  std::vector<std::string> content;
  for (auto& word : words_of(text))
    if (!is_function_word(word) && std::find(content.begin(), content.end(), word) == content.end())
      content.push_back(std::move(word));
  return content;
}

std::string stem(std::string_view word) {
  for (std::string_view ending :
       {"ations", "ation", "ings", "ing", "ies", "ied", "ers", "er", "ed", "es", "ly", "s", "e", "y"})
    if (word.size() >= kShortestStem + ending.size() && word.substr(word.size() - ending.size()) == ending)
      return std::string(word.substr(0, word.size() - ending.size()));
  // Short words only lose a plural: "keys", "eats", but not "boss".
  const size_t n = word.size();
  if (n > kShortestStem - 1 && word[n - 1] == 's' && word[n - 2] != 's') return std::string(word.substr(0, n - 1));
  return std::string(word);
}

}  // namespace longleaf
