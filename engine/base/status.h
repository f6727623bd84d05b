// How every function of Longleaf reports what the world can do wrong: by value, never by exception.
// Values: any thread. What only we can do wrong (shapes, order of calls) is an assert instead.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace longleaf {

enum class Code {
  Ok,
  NotFound,     // the named thing is not there
  Invalid,      // the request makes no sense
  Corrupt,      // bytes that cannot be what they claim to be
  Unsupported,  // well formed, but not something this version can do
  NoMemory,     // host or device memory, or a limit on it
  Io,           // reading or writing failed
  Locked,       // a password is needed, or another program holds it
  Cancelled,    // the caller asked to stop
  Timeout,      // a time limit passed
  DeviceLost,   // the compute device is gone; the engine must be made anew
  Unavailable,  // a part of the program itself is missing or cannot be started; nothing is wrong with what was asked
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  // `message`: one plain sentence that names the thing and says what to do, without a trailing full stop needed.
  Status(Code code, std::string message) : code_(code), message_(std::move(message)) { assert(code != Code::Ok); }

  bool ok() const { return code_ == Code::Ok; }
  Code code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Code code_ = Code::Ok;
  std::string message_;
};

// A value, or the reason why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                                  // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT: implicit on purpose

  bool ok() const { return status_.ok(); }
  const Status& status() const { return status_; }
  // REQUIRES: ok().
  T& operator*() { return assert(ok()), *value_; }
  const T& operator*() const { return assert(ok()), *value_; }
  T* operator->() { return assert(ok()), &*value_; }
  const T* operator->() const { return assert(ok()), &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace longleaf

#define LL_JOIN_(a, b) a##b
#define LL_JOIN(a, b) LL_JOIN_(a, b)

// Leaves the function with the Status of `expression` unless it is ok.
#define LL_RETURN_IF_ERROR(expression)                                                                        \
  do {                                                                                                        \
    if (::longleaf::Status LL_JOIN(ll_status_, __LINE__) = (expression); !LL_JOIN(ll_status_, __LINE__).ok()) \
      return LL_JOIN(ll_status_, __LINE__);                                                                   \
  } while (false)

// Assigns the value of the Result `expression` to `target` (a declaration, or something to assign to), or leaves the
// function with its Status.
#define LL_ASSIGN_OR_RETURN(target, expression)                                           \
  auto LL_JOIN(ll_result_, __LINE__) = (expression);                                      \
  if (!LL_JOIN(ll_result_, __LINE__).ok()) return LL_JOIN(ll_result_, __LINE__).status(); \
  target = std::move(*LL_JOIN(ll_result_, __LINE__))
