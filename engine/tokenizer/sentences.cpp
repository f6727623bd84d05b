#include "engine/tokenizer/sentences.h"

#include <algorithm>
#include <string>
#include <string_view>

namespace longleaf {
namespace {

constexpr std::string_view kBlank = " \n\t\r";

bool ends_line(std::string_view text) { return text.ends_with('\n'); }

// Ends that need no white space behind them.
bool ends_in_wide_stop(std::string_view text) {
  for (const std::string_view close : {"”", "’", "」", "』", "）"})
    if (text.ends_with(close)) text.remove_suffix(close.size());
  return text.ends_with("。") || text.ends_with("！") || text.ends_with("？");
}

bool ends_in_stop(std::string_view text) {
  const size_t last = text.find_last_not_of("\"')]”’");
  return last != std::string_view::npos && std::string_view(".!?").find(text[last]) != std::string_view::npos;
}

}  // namespace

std::vector<int> sentence_starts(const Tokenizer& tokenizer, std::span<const TokenId> tokens) {
  std::vector<int> starts;
  std::string before;  // the last words
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string text = tokenizer.decode(tokens[i]);
    const bool is_blank = text.find_first_not_of(kBlank) == std::string::npos;
    const std::string_view said = std::string_view(before).substr(0, before.find_last_not_of(kBlank) + 1);
    const bool spaced =
        said.size() < before.size() || (!text.empty() && kBlank.find(text[0]) != std::string_view::npos);
    const bool is_behind = ends_line(before) || ends_in_wide_stop(said) || (spaced && ends_in_stop(said));
    if (i == 0 || (is_behind && !is_blank)) starts.push_back(static_cast<int>(i)), before.clear();
    before += text;
    if (before.size() > 64) before.erase(0, before.size() - 16);
  }
  return starts;
}

}  // namespace longleaf
