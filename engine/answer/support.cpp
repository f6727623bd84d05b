#include "engine/answer/support.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>

#include "engine/base/words.h"

namespace longleaf {
namespace {

constexpr double kLeastShare = 0.5;
constexpr double kRepeatsQuestion = 0.6;  // a sentence with hardly more than the question's own words
constexpr double kLacksNumber = 0.6;      // a sentence without a number, where the question asks for one
constexpr double kAsksItself = 0.3;       // a sentence that is a question

std::vector<std::string> content_stems(std::string_view text) {
  std::vector<std::string> stems;
  for (const auto& word : content_words(text)) stems.push_back(stem(word));
  std::sort(stems.begin(), stems.end());
  stems.erase(std::unique(stems.begin(), stems.end()), stems.end());
  return stems;
}

bool has(const std::vector<std::string>& sorted, const std::string& word) {
  return std::binary_search(sorted.begin(), sorted.end(), word);
}

bool is_number(const std::string& word) {
  return std::any_of(word.begin(), word.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

// Stems of words with a capital letter, but for the first word.
std::vector<std::string> names_of(std::string_view text) {
  std::vector<std::string> names;
  for (size_t at = text.find(' '); at < text.size(); at = text.find(' ', at + 1)) {
    const std::string_view word = text.substr(at + 1, text.find(' ', at + 1) - at - 1);
    if (!word.empty() && std::isupper(static_cast<unsigned char>(word[0])) != 0)
      for (const auto& name : content_stems(word)) names.push_back(name);
  }
  return names;
}

bool asks_for_number(std::string_view question) {
  std::string plain;
  for (const auto& word : words_of(question)) plain += word + " ";
  for (const char* phrase :
       {"how many ", "how much ", "how long ", "how old ", "how often ", "when ", "what year ", "which year "})
    if (plain.find(phrase) != std::string::npos) return true;
  return false;
}

}  // namespace

SentenceIndex::SentenceIndex(const std::vector<std::string>& sentences) {
  for (const auto& sentence : sentences) {
    stems_.push_back(content_stems(sentence));
    is_question_.push_back(!sentence.empty() && sentence.back() == '?');
    all_stems_.insert(all_stems_.end(), stems_.back().begin(), stems_.back().end());
  }
  std::sort(all_stems_.begin(), all_stems_.end());
}

double SentenceIndex::weight(const std::string& word) const {
  const auto [first, last] = std::equal_range(all_stems_.begin(), all_stems_.end(), word);
  return std::log(1.0 + static_cast<double>(stems_.size() + 1) / static_cast<double>(last - first + 1));
}

double SentenceIndex::share(const std::vector<std::string>& wanted, size_t sentence) const {
  double found = 0, all = 0;
  for (const auto& word : wanted) {
    const double w = weight(word);
    all += w;
    if (has(stems_[sentence], word)) found += w;
  }
  return all > 0 ? found / all : 0;
}

Support SentenceIndex::support_for(std::string_view claim, bool names_too) const {
  const auto wanted = content_stems(claim);
  auto needed = names_too ? names_of(claim) : std::vector<std::string>();
  std::copy_if(wanted.begin(), wanted.end(), std::back_inserter(needed), is_number);
  Support best;
  for (size_t i = 0; i < stems_.size(); ++i) {
    const bool is_whole =
        std::all_of(needed.begin(), needed.end(), [&](const auto& word) { return has(stems_[i], word); });
    const auto common = static_cast<size_t>(
        std::count_if(wanted.begin(), wanted.end(), [&](const auto& w) { return has(stems_[i], w); }));
    if (!is_whole || common < std::min<size_t>(2, wanted.size()) || common == 0) continue;
    const double s = share(wanted, i);
    if (s >= kLeastShare && s > best.share) best = {static_cast<int>(i), s};
  }
  return best;
}

std::vector<Support> SentenceIndex::answers_to(std::string_view question, const std::vector<double>& bonus) const {
  const auto wanted = content_stems(question);
  const bool wants_number = asks_for_number(question);
  std::vector<Support> ranked;
  for (size_t i = 0; i < stems_.size(); ++i) {
    double s = share(wanted, i);
    if (s <= 0) continue;
    // A bare heading repeats the question's words and answers nothing.
    if (stems_[i].size() < wanted.size() + 2) s *= kRepeatsQuestion;
    if (is_question_[i]) s *= kAsksItself;
    if (wants_number && std::none_of(stems_[i].begin(), stems_[i].end(), is_number)) s *= kLacksNumber;
    ranked.push_back({static_cast<int>(i), s + (i < bonus.size() ? bonus[i] : 0.0)});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const Support& a, const Support& b) { return a.share > b.share; });
  return ranked;
}

}  // namespace longleaf
