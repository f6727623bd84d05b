#include "engine/jinja/lexer.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace longleaf::jinja {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c); }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {
    std::erase(source_, '\r');
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  Result<std::vector<Token>> run() {
    while (at_ < source_.size() && error_.empty()) text();
    if (!error_.empty())
      return Status(Code::Invalid, "the chat template, line " + std::to_string(line_at(at_)) + ": " + error_);
    put(TokenKind::End, "");
    return std::move(tokens_);
  }

 private:
  bool next_is(std::string_view mark) const { return std::string_view(source_).substr(at_, mark.size()) == mark; }
  char peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }
  // The line of `place`; places come in order.
  int line_at(size_t place) {
    for (; counted_ < std::min(place, source_.size()); ++counted_) line_ += source_[counted_] == '\n' ? 1 : 0;
    return line_;
  }
  void put(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_at(at_)}); }
  void fail(const char* what) {
    if (error_.empty()) error_ = what;
  }

  // Plain text up to the next tag, comment or output.
  void text() {
    size_t end = at_;
    while (end < source_.size() && !(source_[end] == '{' && end + 1 < source_.size() &&
                                     std::string_view("{%#").find(source_[end + 1]) != std::string_view::npos))
      ++end;
    std::string text = source_.substr(at_, end - at_);
    at_ = end;
    if (trim_next_) text.erase(0, std::min(text.size(), text.find_first_not_of(" \t\n\f\v")));
    trim_next_ = false;
    if (at_ == source_.size()) return add_text(std::move(text));
    const char kind = peek(1), mark = peek(2);
    at_ += 2;
    if (mark == '-') {
      while (!text.empty() && is_blank(text.back())) text.pop_back();
    } else if (mark != '+' && kind != '{') {
      strip_line(text);
    }
    add_text(std::move(text));
    if (mark == '-' || mark == '+') ++at_;
    if (kind == '#') return comment();
    put(kind == '%' ? TokenKind::TagBegin : TokenKind::OutputBegin, "");
    if (kind == '%' && raw()) return;
    code(kind == '%');
  }

  void add_text(std::string text) {
    if (!text.empty()) put(TokenKind::Text, std::move(text));
  }

  // Blanks between the line's beginning and a tag.
  void strip_line(std::string& text) const {
    const size_t last = text.find_last_not_of(" \t");
    if (last == std::string::npos ? line_begins_ : text[last] == '\n')
      text.resize(last == std::string::npos ? 0 : last + 1);
  }

  // Behind a tag's end: `-` takes blanks, and a block tag its line break.
  void after_end(bool minus, bool plus, bool block) {
    trim_next_ = minus;
    line_begins_ = false;
    if (!minus && !plus && block && peek() == '\n') ++at_, line_begins_ = true;
  }

  void comment() {
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return fail("a comment has no end"), at_ = source_.size(), void();
    const char mark = end > at_ ? source_[end - 1] : '\0';
    at_ = end + 2;
    after_end(mark == '-', mark == '+', true);
  }

  // {% raw %} … {% endraw %}: what stands between is text.
  bool raw() {
    size_t at = at_;
    const auto skip = [&] {
      while (at < source_.size() && is_blank(source_[at])) ++at;
    };
    skip();
    if (source_.compare(at, 3, "raw") != 0 || is_name(at + 3 < source_.size() ? source_[at + 3] : '\0')) return false;
    at += 3;
    skip();
    if (source_.compare(at, 2, "%}") != 0) return false;
    const size_t begin = at + 2, end = source_.find("{% endraw %}", begin);
    if (end == std::string::npos) return false;
    tokens_.pop_back();
    add_text(source_.substr(begin, end - begin));
    at_ = end + 12;
    after_end(false, false, true);
    return true;
  }

  // Tokens up to the tag's end.
  void code(bool block) {
    const std::string_view close = block ? "%}" : "}}";
    int braces = 0;
    while (error_.empty()) {
      while (is_blank(peek())) ++at_;
      if (at_ >= source_.size()) return fail("a tag has no end");
      const bool marked = peek() == '-' || peek() == '+';
      if ((marked && std::string_view(source_).substr(at_ + 1, 2) == close) || (braces == 0 && next_is(close))) {
        const char mark = marked ? peek() : '\0';
        at_ += marked ? 3 : 2;
        put(block ? TokenKind::TagEnd : TokenKind::OutputEnd, "");
        return after_end(mark == '-', mark == '+', block);
      }
      braces += peek() == '{' ? 1 : peek() == '}' ? -1 : 0;
      token();
    }
  }

  void token() {
    const char c = peek();
    if (c == '\'' || c == '"') return string(c);
    if (is_digit(c)) return number();
    size_t end = at_;
    while (end < source_.size() && is_name(source_[end])) ++end;
    if (end > at_) {
      put(TokenKind::Name, source_.substr(at_, end - at_));
      at_ = end;
      return;
    }
    for (std::string_view op : {"==", "!=", "<=", ">=", "//", "**"})
      if (next_is(op)) return put(TokenKind::Operator, std::string(op)), at_ += 2, void();
    if (std::string_view("+-*/%~<>=.,:|()[]{}").find(c) == std::string_view::npos)
      return fail("a sign that means nothing");
    put(TokenKind::Operator, std::string(1, c));
    ++at_;
  }

  void string(char quote) {
    std::string text;
    for (++at_; at_ < source_.size() && source_[at_] != quote; ++at_) {
      if (source_[at_] != '\\' || at_ + 1 >= source_.size()) {
        text += source_[at_];
        continue;
      }
      escape(source_[++at_], text);
    }
    if (at_ >= source_.size()) return fail("a string has no end");
    ++at_;
    put(TokenKind::String, std::move(text));
  }

  static void escape(char c, std::string& text) {
    constexpr std::string_view kFrom = "ntr0bfv", kTo{"\n\t\r\0\b\f\v", 7};
    if (const size_t place = kFrom.find(c); place != std::string_view::npos)
      text += kTo[place];
    else if (c == '\\' || c == '\'' || c == '"')
      text += c;
    else if (c != '\n')
      text += '\\', text += c;
  }

  void number() {
    size_t end = at_;
    while (end < source_.size() && is_digit(source_[end])) ++end;
    const bool real = end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1]);
    if (real)
      for (++end; end < source_.size() && is_digit(source_[end]);) ++end;
    if (end - at_ > 18) return fail("a number is too long");
    put(real ? TokenKind::Real : TokenKind::Integer, source_.substr(at_, end - at_));
    at_ = end;
  }

  std::string source_;
  size_t at_ = 0, counted_ = 0;
  int line_ = 1;
  bool trim_next_ = false;   // the text that follows loses its leading blanks
  bool line_begins_ = true;  // the text that follows begins a line
  std::vector<Token> tokens_;
  std::string error_;
};

}  // namespace

Result<std::vector<Token>> tokenize(const std::string& source) { return Lexer(source).run(); }

}  // namespace longleaf::jinja
