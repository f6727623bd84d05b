// Figures that reports seldom print because they follow from figures they do print. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace longleaf {

// What has to be looked up where `question` asks for a ratio of financial analysis: "quick ratio" → "current assets",
// "current liabilities" and so on, in the words of usual statements, each once. The ratios are those of textbooks
// (Brealey, Myers and Allen, Principles of Corporate Finance, “Financial Analysis”). English only.
std::vector<std::string> figures_behind(std::string_view question);

}  // namespace longleaf
