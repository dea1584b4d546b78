// The three kinds of failure, and RONDO_CHECK.
//
// UserError: the input or the configuration is wrong; the message says what to do (exit code 2).
// SystemError: a call to the system, MPI, HDF5 or CUDA failed (exit code 3).
// Bug: rondo itself broke one of its own rules (exit code 70).
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace rondo::base {

// Process exit codes; frozen, batch scripts depend on them.
enum class Exit : int {
  kDone = 0,
  kUser = 2,         // fix the input, then start again
  kSystem = 3,       // a call failed
  kBug = 70,         // report it
  kRequeue = 75,     // stopped on request with a checkpoint: start again
  kCommands = 79,    // a command outside has to be run first (launch/rounds): start again
  kNoProgress = 93,  // restarted without progress: do not start again
};

class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class SystemError : public std::runtime_error {
 public:
  // `call` is the function that failed, `text` what it said.
  SystemError(std::string_view call, long code, std::string_view text);
  explicit SystemError(const std::string& message) : std::runtime_error(message) {}
};

// Other ranks have not come to where this one waits, so it cannot agree with them on anything.
class Overdue : public SystemError {
 public:
  using SystemError::SystemError;
};

class Bug : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// The exit code that belongs to an exception.
Exit exit_code_of(const std::exception& error);

template <class... Args>
[[noreturn]] void fail_user(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(fmt::format(format, std::forward<Args>(args)...));
}

// Throws SystemError with errno and its text.
[[noreturn]] void fail_errno(std::string_view call, std::string_view path);

[[noreturn]] void fail_check(const char* file, int line, const char* condition,
                             const std::string& message);

}  // namespace rondo::base

// Always compiled; the condition must have no side effects. A failure is a Bug.
#define RONDO_CHECK(condition, ...)                                                \
  do {                                                                             \
    if (!(condition)) {                                                            \
      ::rondo::base::fail_check(__FILE__, __LINE__, #condition,                    \
                                ::rondo::base::internal::check_text(__VA_ARGS__)); \
    }                                                                              \
  } while (false)

namespace rondo::base::internal {
inline std::string check_text() { return {}; }
template <class... Args>
std::string check_text(fmt::format_string<Args...> format, Args&&... args) {
  return fmt::format(format, std::forward<Args>(args)...);
}
}  // namespace rondo::base::internal
