// Regular expressions as automata: each part is built behind the one it leads to, from the last to the first.
#include <cctype>
#include <limits>

#include "engine/generate/form.h"

namespace longleaf {
namespace {

constexpr int kMostParts = 20000;  // repetitions written out
constexpr int kMostDepth = 100, kMostRepeats = 1000;

ByteSet range(int first, int last) {
  ByteSet set;
  for (int b = first; b <= last; ++b) set.set(static_cast<size_t>(b));
  return set;
}

ByteSet of(std::string_view bytes) {
  ByteSet set;
  for (const char c : bytes) set.set(static_cast<unsigned char>(c));
  return set;
}

const ByteSet kAscii = range(0, 127);

struct Class {
  ByteSet ascii;
  bool others = false;  // every character beyond ASCII
};

Class outside(const Class& c) { return {kAscii & ~c.ascii, !c.others}; }

}  // namespace

// Reads a pattern into a tree of parts, then writes the tree into a form.
class PatternReader {
 public:
  explicit PatternReader(std::string_view pattern) : pattern_(pattern) {}

  Result<std::shared_ptr<const Form>> read() {
    take('^');  // all of a text is meant, also without
    LL_ASSIGN_OR_RETURN(const int root, choice(0));
    if (at_ < pattern_.size()) return wrong("this ) has no ( before it");
    LL_ASSIGN_OR_RETURN(const int start, write(root, Form::kAccept));
    form_->start_ = {start};
    return std::shared_ptr<const Form>(form_);
  }

 private:
  enum class Kind { Characters, Bytes, Sequence, Choice, Repeat };
  struct Part {
    Kind kind = Kind::Sequence;
    Class characters;        // one of these
    std::string bytes;       // … or these, one behind the other
    std::vector<int> parts;  // … or of these: all, one, or the first again and again
    int least = 0, most = 0;
  };
  static constexpr int kNoEnd = std::numeric_limits<int>::max();

  Status wrong(const std::string& what) const {
    return Status(Code::Invalid, "The pattern “" + std::string(pattern_) + "” cannot be read: at character " +
                                     std::to_string(at_ + 1) + ", " + what);
  }
  bool is_next(char c) const { return at_ < pattern_.size() && pattern_[at_] == c; }
  bool take(char c) {
    if (!is_next(c)) return false;
    ++at_;
    return true;
  }
  int keep(Part part) {
    parts_.push_back(std::move(part));
    return static_cast<int>(parts_.size()) - 1;
  }

  Result<int> choice(int depth) {
    if (depth > kMostDepth) return wrong("there are too many ( within each other");
    Part all{Kind::Choice, {}, {}, {}, 0, 0};
    do {
      Part row;
      while (at_ < pattern_.size() && !is_next('|') && !is_next(')')) {
        LL_ASSIGN_OR_RETURN(const int part, repeated(depth));
        row.parts.push_back(part);
      }
      all.parts.push_back(keep(std::move(row)));
    } while (take('|'));
    return all.parts.size() == 1 ? all.parts[0] : keep(std::move(all));
  }

  Result<int> repeated(int depth) {
    LL_ASSIGN_OR_RETURN(const int part, single(depth));
    Part repeat{Kind::Repeat, {}, {}, {part}, 0, kNoEnd};
    if (take('*')) return keep(std::move(repeat));
    if (take('+'))
      repeat.least = 1;
    else if (take('?'))
      repeat.most = 1;
    else if (take('{'))
      LL_RETURN_IF_ERROR(bounds(repeat.least, repeat.most));
    else
      return part;
    return keep(std::move(repeat));
  }

  Result<int> number() {
    if (at_ >= pattern_.size() || std::isdigit(static_cast<unsigned char>(pattern_[at_])) == 0)
      return wrong("a number is missing");
    int n = 0;
    for (; at_ < pattern_.size() && std::isdigit(static_cast<unsigned char>(pattern_[at_])) != 0; ++at_) {
      n = 10 * n + (pattern_[at_] - '0');
      if (n > kMostRepeats) return wrong("a repetition is of more than " + std::to_string(kMostRepeats));
    }
    return n;
  }

  Status bounds(int& least, int& most) {
    LL_ASSIGN_OR_RETURN(least, number());
    most = least;
    if (take(',')) {
      most = kNoEnd;
      if (!is_next('}')) {
        LL_ASSIGN_OR_RETURN(most, number());
      }
    }
    if (most < least) return wrong("the most are fewer than the least");
    return take('}') ? Status() : wrong("a } is missing");
  }

  Result<int> single(int depth) {
    const char c = pattern_[at_];
    if (c == '$' && at_ + 1 == pattern_.size()) return ++at_, keep({});
    if (c == '^' || c == '$') return wrong("a ^ or $ stands within the pattern; write \\^ or \\$ for the character");
    if (c == '*' || c == '+' || c == '?' || c == '{') return wrong("there is nothing to repeat");
    ++at_;
    if (c == '(') {
      LL_ASSIGN_OR_RETURN(const int inner, choice(depth + 1));
      if (!take(')')) return wrong("a ) is missing");
      return inner;
    }
    if (c == '.') return keep({Kind::Characters, outside({of("\n"), false}), {}, {}, 0, 0});
    if (c == '[') {
      LL_ASSIGN_OR_RETURN(Class characters, bracket());
      return keep({Kind::Characters, characters, {}, {}, 0, 0});
    }
    if (c == '\\') {
      LL_ASSIGN_OR_RETURN(Class characters, escape());
      return keep({Kind::Characters, characters, {}, {}, 0, 0});
    }
    std::string bytes(1, c);  // of a whole character, so that what follows repeats all of it
    for (; (c & 0x80) != 0 && at_ < pattern_.size() && (pattern_[at_] & 0xC0) == 0x80; ++at_) bytes += pattern_[at_];
    return keep({Kind::Bytes, {}, std::move(bytes), {}, 0, 0});
  }

  Result<Class> escape() {
    if (at_ == pattern_.size()) return wrong("nothing follows the \\");
    const char c = pattern_[at_++];
    const ByteSet digits = range('0', '9'), spaces = of(" \t\r\n\f\v");
    switch (c) {
      case 'd':
        return Class{digits, false};
      case 'w':
        return Class{digits | range('a', 'z') | range('A', 'Z') | of("_"), true};
      case 's':
        return Class{spaces, false};
      case 'S':
        return outside({spaces, false});
      case 'n':
        return Class{of("\n"), false};
      case 't':
        return Class{of("\t"), false};
      default:
        if (std::ispunct(static_cast<unsigned char>(c)) != 0) return Class{of({&c, 1}), false};
        return wrong("there is no \\" + std::string(1, c));
    }
  }

  Result<Class> bracket() {
    Class all;
    const bool negated = take('^');
    for (bool first = true; first || !is_next(']'); first = false) {
      if (at_ >= pattern_.size()) return wrong("a ] is missing");
      LL_ASSIGN_OR_RETURN(Class one, member());
      const bool is_range = is_next('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
      if (is_range) {
        ++at_;
        LL_ASSIGN_OR_RETURN(const Class last, member());
        if (one.ascii.count() != 1 || last.ascii.count() != 1) return wrong("a range has two characters for ends");
        one.ascii = range(static_cast<int>(one.ascii._Find_first()), static_cast<int>(last.ascii._Find_first()));
        if (one.ascii.none()) return wrong("a range begins behind its end");
      }
      all = {all.ascii | one.ascii, all.others || one.others};
    }
    ++at_;
    return negated ? outside(all) : all;
  }

  Result<Class> member() {
    if (at_ >= pattern_.size()) return wrong("a ] is missing");
    const char c = pattern_[at_++];
    if (c == '\\') return escape();
    if ((c & 0x80) != 0) return wrong("[ ] names ASCII characters only; use ( | )");
    return Class{of({&c, 1}), false};
  }

  // Each writes a part that leads to `next`, and returns where it begins.
  Result<int> write(int part, int next) {
    if (++written_ > kMostParts) return wrong("it allows for too much; use smaller repetitions");
    const Part& p = parts_[static_cast<size_t>(part)];
    switch (p.kind) {
      case Kind::Characters:
        return characters(p.characters, next);
      case Kind::Bytes:
        for (size_t i = p.bytes.size(); i-- > 0;) next = step(of({&p.bytes[i], 1}), next);
        return next;
      case Kind::Sequence:
        for (size_t i = p.parts.size(); i-- > 0;) {
          LL_ASSIGN_OR_RETURN(next, write(p.parts[i], next));
        }
        return next;
      case Kind::Choice:
        return any_of(p, next);
      case Kind::Repeat:
        return repeat(p, next);
    }
    return next;
  }

  int step(const ByteSet& bytes, int next) { return form_->add({bytes, next, {-1, -1}}); }
  int fork(int a, int b) { return form_->add({{}, -1, {a, b}}); }

  // UTF-8: every character is whole, and of the shortest spelling (Unicode, table 3-7; surrogates are let through).
  int characters(const Class& c, int next) {
    int begin = step(c.ascii, next);
    if (!c.others) return begin;
    const ByteSet tail = range(0x80, 0xBF);
    const int one = step(tail, next), two = step(tail, one), three = step(tail, two);
    for (const auto& [lead, then] :
         {std::pair{range(0xC2, 0xDF), one}, {range(0xE1, 0xEF), two}, {range(0xF1, 0xF3), three}})
      begin = fork(begin, step(lead, then));
    begin = fork(begin, step(range(0xE0, 0xE0), step(range(0xA0, 0xBF), one)));
    begin = fork(begin, step(range(0xF0, 0xF0), step(range(0x90, 0xBF), two)));
    return fork(begin, step(range(0xF4, 0xF4), step(range(0x80, 0x8F), two)));
  }

  Result<int> any_of(const Part& p, int next) {
    LL_ASSIGN_OR_RETURN(int begin, write(p.parts[0], next));
    for (size_t i = 1; i < p.parts.size(); ++i) {
      LL_ASSIGN_OR_RETURN(const int other, write(p.parts[i], next));
      begin = fork(begin, other);
    }
    return begin;
  }

  Result<int> repeat(const Part& p, int next) {
    int begin = next;
    if (p.most == kNoEnd) {
      const int again = fork(next, -1);
      LL_ASSIGN_OR_RETURN(const int body, write(p.parts[0], again));
      form_->states_[static_cast<size_t>(again)].free[1] = body;
      begin = again;
    } else {
      for (int i = p.least; i < p.most; ++i) {
        LL_ASSIGN_OR_RETURN(const int body, write(p.parts[0], begin));
        begin = fork(body, next);
      }
    }
    for (int i = 0; i < p.least; ++i) {
      LL_ASSIGN_OR_RETURN(begin, write(p.parts[0], begin));
    }
    return begin;
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::vector<Part> parts_;
  int written_ = 0;
  std::shared_ptr<Form> form_ = std::make_shared<Form>();
};

Result<std::shared_ptr<const Form>> Form::matching(std::string_view pattern) { return PatternReader(pattern).read(); }

}  // namespace longleaf
