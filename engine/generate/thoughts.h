// Takes what a model thinks aloud before it answers, <think>…</think>, out of its text. Not thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace longleaf {

class Thoughts {
 public:
  // What of the text so far belongs to the answer and was not returned yet: nothing while it may be, or is, a thought.
  std::string push(std::string_view text) {
    if (is_past_) return std::string(text);
    pending_ += text;
    const size_t begin = pending_.find_first_not_of(" \n\t");
    const std::string_view said = begin == std::string::npos ? "" : std::string_view(pending_).substr(begin);
    if (said.size() < kOpen.size() && kOpen.starts_with(said)) return {};
    if (said.starts_with(kOpen)) {
      const size_t end = said.find(kClose);
      if (end == std::string_view::npos) return {};
      pending_ = said.substr(end + kClose.size());
    }
    is_past_ = true;
    return std::move(pending_);
  }
  // The rest at the end of an answer; of a thought that did not end, nothing.
  std::string finish() {
    const bool is_thought = pending_.find(kOpen) != std::string::npos;
    return is_past_ || is_thought ? std::string() : std::move(pending_);
  }

 private:
  static constexpr std::string_view kOpen = "<think>", kClose = "</think>";
  bool is_past_ = false;
  std::string pending_;
};

}  // namespace longleaf
