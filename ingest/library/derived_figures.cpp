#include "ingest/library/derived_figures.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include "engine/base/words.h"

namespace longleaf {
namespace {

// Of lists of alternatives and of figures; a semicolon stands between two.
struct Ratio {
  std::string_view names, figures;
};

constexpr std::array kRatios = {
    Ratio{"current ratio; working capital", "total current assets; total current liabilities"},
    Ratio{"quick ratio; acid test ratio",
          "cash and equivalents; short-term investments; accounts receivable; total current liabilities"},
    Ratio{"cash ratio", "cash and equivalents; short-term investments; total current liabilities"},
    Ratio{"inventory turnover; days in inventory; days of inventory; inventory days", "cost of sales; inventories"},
    Ratio{"receivable turnover; receivables turnover; days sales outstanding; collection period; receivable days",
          "revenues; accounts receivable"},
    Ratio{"payable turnover; payables turnover; days payable; payment period", "cost of sales; accounts payable"},
    Ratio{"cash conversion cycle", "cost of sales; inventories; revenues; accounts receivable; accounts payable"},
    Ratio{"asset turnover; assets turnover", "revenues; total assets"},
    Ratio{"fixed asset turnover", "revenues; property, plant and equipment"},
    Ratio{"gross margin; gross profit margin", "gross profit; cost of sales; revenues"},
    Ratio{"operating margin; operating profit margin", "operating income; revenues"},
    Ratio{"profit margin; net margin", "net income; revenues"},
    Ratio{"return on asset; return on total assets; roa", "net income; total assets"},
    Ratio{"return on equity; return on average equity", "net income; total shareholders equity"},
    Ratio{"return on capital employed; roce", "operating income; total assets; total current liabilities"},
    Ratio{"return on invested capital; roic; invested capital",
          "operating income; income tax expense; long-term debt; total shareholders equity"},
    Ratio{"debt to equity; debt ratio; debt to assets; leverage ratio",
          "long-term debt; total liabilities; total shareholders equity; total assets"},
    Ratio{"capitalization ratio", "long-term debt; total shareholders equity"},
    Ratio{"interest coverage; times interest earned; coverage ratio", "operating income; interest expense"},
    Ratio{"effective tax", "income tax expense; income before income taxes"},
    Ratio{"ebitda", "operating income; depreciation and amortization"},
    Ratio{"free cash flow", "cash provided by operating activities; additions to property and equipment"},
    Ratio{"earnings per share", "net income; weighted average shares outstanding"},
    Ratio{"book value per share", "total shareholders equity; shares outstanding"},
    Ratio{"payout ratio; dividend payout", "dividends declared; net income"},
};

std::vector<std::string> stems_of(std::string_view text) {
  auto words = words_of(text);
  for (auto& word : words) word = stem(word);
  return words;
}

std::vector<std::string_view> parts_of(std::string_view list) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(';', begin), list.size());
    parts.push_back(list.substr(begin, end - begin));
    begin = std::min(list.find_first_not_of(' ', end + 1), list.size());
  }
  return parts;
}

}  // namespace

std::vector<std::string> figures_behind(std::string_view question) {
  const auto words = stems_of(question);
  const auto is_asked = [&](std::string_view name) {
    const auto wanted = stems_of(name);
    return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
  };
  std::vector<std::string> figures;
  for (const Ratio& ratio : kRatios) {
    const auto names = parts_of(ratio.names);
    if (std::none_of(names.begin(), names.end(), is_asked)) continue;
    for (const auto figure : parts_of(ratio.figures))
      if (std::find(figures.begin(), figures.end(), figure) == figures.end()) figures.emplace_back(figure);
  }
  return figures;
}

}  // namespace longleaf
