#include "ingest/layout/watermarks.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <vector>

namespace longleaf {
namespace {

constexpr float kLarger = 1.8f;  // than most words of the page: labels of a form that returns are not
constexpr float kStep = 0.005f;  // of the page, by which places are told apart
constexpr int kFewestPages = 4;
constexpr float kMostPages = 0.6f;

float usual_size(const PageText& page) {
  std::vector<float> sizes;
  for (const Word& word : page.words)
    if (!word.hidden) sizes.push_back(word.size_pt);
  if (sizes.empty()) return 0;
  const auto middle = sizes.begin() + static_cast<long>(sizes.size() / 2);
  std::nth_element(sizes.begin(), middle, sizes.end());
  return *middle;
}

bool is_large(const Word& word, float usual) { return !word.hidden && word.size_pt >= kLarger * usual; }

size_t key_of(const Word& word) {
  size_t key = std::hash<std::string>()(word.text);
  for (const float part : {word.box.x0 / kStep, word.box.y0 / kStep, word.size_pt})
    key = key * 1000003 + static_cast<size_t>(std::lround(std::clamp(part, -1e6f, 1e6f)));
  return key;
}

}  // namespace

void Watermarks::learn(const PageText& page) {
  const float usual = usual_size(page);
  std::set<size_t> keys;  // of this page, each once
  for (const Word& word : page.words)
    if (is_large(word, usual)) keys.insert(key_of(word));
  for (const size_t key : keys) ++pages_of_[key];
  ++pages_;
}

void Watermarks::remove_from(PageText& page) const {
  const float usual = usual_size(page);
  const auto enough = std::max(static_cast<float>(kFewestPages), kMostPages * static_cast<float>(pages_));
  std::erase_if(page.words, [&](const Word& word) {
    if (!is_large(word, usual)) return false;
    const auto known = pages_of_.find(key_of(word));
    return known != pages_of_.end() && static_cast<float>(known->second) >= enough;
  });
}

}  // namespace longleaf
