// The text of an answer as tokens bring it, and what of it can be said by now. Not thread-safe.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "engine/generate/thoughts.h"
#include "engine/generate/utf8_stream.h"

namespace longleaf {

class AnswerText {
 public:
  //   stop_at   what ends an answer as text; empty: nothing does
  //   verbatim  every byte counts: an answer of a form. Else white space in front and thoughts are left out.
  AnswerText(std::string_view stop_at, bool verbatim) : stop_at_(verbatim ? "" : stop_at), verbatim_(verbatim) {}

  // The bytes of a token. True where the answer has ended by what it says: what ends it, or nothing for long.
  bool add(std::string_view bytes) {
    constexpr int kMostBlank = 16;  // tokens in a row
    blank_ = bytes.find_first_not_of(" \n\t\r") == bytes.npos ? blank_ + 1 : 0;
    if (!verbatim_ && blank_ > kMostBlank) return true;
    append(heard(stream_.push(bytes)));
    const size_t end = stop_at_.empty() ? std::string::npos : text_.find(stop_at_);
    if (end != std::string::npos) text_.erase(end);
    return end != std::string::npos;
  }
  void finish() {
    append(heard(stream_.finish()));
    if (!verbatim_) append(thoughts_.finish());
    is_whole_ = true;
  }
  const std::string& text() const { return text_; }

  // What was not returned yet, but a tail that may still become what ends the answer.
  std::string_view unsaid() {
    const bool may_end = !is_whole_ && !stop_at_.empty() && text_.ends_with(stop_at_[0]);
    const size_t begin = said_, end = text_.size() - (may_end ? 1 : 0);
    if (end <= begin) return {};
    said_ = end;
    return std::string_view(text_).substr(begin, end - begin);
  }

 private:
  std::string heard(std::string text) { return verbatim_ ? std::move(text) : thoughts_.push(text); }
  void append(const std::string& text) {
    text_ += text;
    if (!verbatim_ && said_ == 0) text_.erase(0, std::min(text_.find_first_not_of(" \n\t"), text_.size()));
  }

  std::string_view stop_at_;
  bool verbatim_, is_whole_ = false;
  Utf8Stream stream_;
  Thoughts thoughts_;
  std::string text_;
  size_t said_ = 0;
  int blank_ = 0;  // tokens of white space, last
};

}  // namespace longleaf
