// A test program is a list of sentences: TEST(rejects_a_truncated_header) { CHECK(...); }
// Qt-free, because a GPU machine may have neither Qt nor a test library.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace longleaf::test {

struct Case {
  const char* name;
  void (*run)();
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
inline int failures = 0;
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};
inline void fail(const char* file, int line, const std::string& what) {
  std::printf("%s:%d: FAILED: %s\n", file, line, what.c_str());
  ++failures;
}
[[noreturn]] inline void skip_all(const std::string& reason) {
  std::printf("skipped: %s\n", reason.c_str());
  std::exit(77);
}

}  // namespace longleaf::test

#define TEST(name)                                                    \
  static void name();                                                 \
  static const longleaf::test::Register register_##name(#name, name); \
  static void name()
#define CHECK(condition) ((condition) ? void() : longleaf::test::fail(__FILE__, __LINE__, #condition))
#define CHECK_EQ(a, b)                                                                                    \
  do {                                                                                                    \
    const auto ll_a = (a);                                                                                \
    const auto ll_b = (b);                                                                                \
    if (!(ll_a == ll_b))                                                                                  \
      longleaf::test::fail(__FILE__, __LINE__, #a " == " #b " (" + show(ll_a) + ", " + show(ll_b) + ")"); \
  } while (false)
// Stops the case: what follows needs the condition.
#define REQUIRE(condition)                                  \
  do {                                                      \
    if (!(condition)) {                                     \
      longleaf::test::fail(__FILE__, __LINE__, #condition); \
      return;                                               \
    }                                                       \
  } while (false)
#define REQUIRE_OK(result)                                                                       \
  do {                                                                                           \
    if (const auto& ll_r = (result); !ll_r.ok()) {                                               \
      longleaf::test::fail(__FILE__, __LINE__, #result ": " + longleaf::test::message_of(ll_r)); \
      return;                                                                                    \
    }                                                                                            \
  } while (false)

namespace longleaf::test {
template <typename T>
std::string message_of(const T& r) {
  if constexpr (requires { r.message(); })
    return r.message();
  else
    return r.status().message();
}
}  // namespace longleaf::test

inline std::string show(const std::string& s) { return '"' + s + '"'; }
inline std::string show(const char* s) { return show(std::string(s)); }
inline std::string show(bool b) { return b ? "true" : "false"; }
template <typename T>
std::string show(const T& value) {
  if constexpr (requires { std::to_string(value); })
    return std::to_string(value);
  else if constexpr (requires { std::to_string(static_cast<int>(value)); })
    return std::to_string(static_cast<int>(value));
  else
    return "?";
}

int main(int argc, char** argv) {
  for (const auto& test : longleaf::test::cases()) {
    if (argc > 1 && std::string(argv[1]) != test.name) continue;
    const int before = longleaf::test::failures;
    test.run();
    std::printf("%s %s\n", longleaf::test::failures == before ? "ok    " : "FAILED", test.name);
    std::fflush(stdout);
  }
  return longleaf::test::failures == 0 ? 0 : 1;
}
