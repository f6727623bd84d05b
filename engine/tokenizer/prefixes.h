// Which of many texts another one begins with. Const methods: any thread.
#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

namespace longleaf {

class Prefixes {
 public:
  // The texts outlive the object; the numbers are what for_each tells. Texts are not empty.
  explicit Prefixes(std::vector<std::pair<std::string_view, int>> texts = {}) : sorted_(std::move(texts)) {
    std::stable_sort(sorted_.begin(), sorted_.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  }

  // Calls f(length, number) for every text that `text` begins with, shortest first; of equal ones for the first.
  template <typename F>
  void for_each(std::string_view text, F f) const {
    auto first = sorted_.begin(), last = sorted_.end();
    for (size_t n = 0; n < text.size() && first != last; ++n) {
      const auto byte = [n](const auto& entry) { return static_cast<unsigned char>(entry.first[n]); };
      const auto wanted = static_cast<unsigned char>(text[n]);
      first = std::partition_point(first, last, [&](const auto& entry) { return byte(entry) < wanted; });
      last = std::partition_point(first, last, [&](const auto& entry) { return byte(entry) == wanted; });
      if (first != last && first->first.size() == n + 1) f(n + 1, first->second);
      while (first != last && first->first.size() == n + 1) ++first;
    }
  }

 private:
  std::vector<std::pair<std::string_view, int>> sorted_;
};

}  // namespace longleaf
