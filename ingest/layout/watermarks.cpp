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
constexpr size_t kMostWords = 60;  // that are large on one page: more is its text

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

// Whether the words lie over each other, more than lines that are set close.
bool overlap(const Word& a, const Word& b) {
  const float width = std::min(a.box.x1, b.box.x1) - std::max(a.box.x0, b.box.x0);
  const float height = std::min(a.box.y1, b.box.y1) - std::max(a.box.y0, b.box.y0);
  return !b.hidden && width > 0 && height > 0.5f * std::min(a.box.height(), b.box.height());
}

}  // namespace

void Watermarks::learn(const PageText& page) {
  ++pages_;
  const float usual = usual_size(page);
  std::vector<const Word*> large;
  for (const Word& word : page.words)
    if (is_large(word, usual)) large.push_back(&word);
  if (large.size() > kMostWords) return;
  std::set<size_t> keys;  // of this page, each once
  for (const Word* word : large) {
    if (!keys.insert(key_of(*word)).second) continue;
    Seen& seen = seen_[key_of(*word)];
    ++seen.pages;
    seen.across += std::any_of(page.words.begin(), page.words.end(),
                               [&](const Word& other) { return !is_large(other, usual) && overlap(*word, other); })
                       ? 1
                       : 0;
  }
}

void Watermarks::remove_from(PageText& page) const {
  const float usual = usual_size(page);
  const auto enough = std::max(static_cast<float>(kFewestPages), kMostPages * static_cast<float>(pages_));
  std::erase_if(page.words, [&](const Word& word) {
    if (!is_large(word, usual)) return false;
    const auto known = seen_.find(key_of(word));
    return known != seen_.end() && static_cast<float>(known->second.pages) >= enough &&
           2 * known->second.across >= known->second.pages;
  });
}

}  // namespace longleaf
