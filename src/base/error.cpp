#include "base/error.hpp"

#include <cerrno>
#include <cstring>
#include <new>

namespace rondo::base {

SystemError::SystemError(std::string_view call, long code, std::string_view text)
    : std::runtime_error(fmt::format("{} failed with code {}: {}", call, code, text)) {}

Exit exit_code_of(const std::exception& error) {
  if (dynamic_cast<const UserError*>(&error) != nullptr) return Exit::kUser;
  if (dynamic_cast<const SystemError*>(&error) != nullptr) return Exit::kSystem;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return Exit::kSystem;
  return Exit::kBug;
}

void fail_errno(std::string_view call, std::string_view path) {
  const int code = errno;
  throw SystemError(fmt::format("{}({})", call, path), code, std::strerror(code));
}

void fail_check(const char* file, int line, const char* condition, const std::string& message) {
  throw Bug(fmt::format("bug in rondo at {}:{}: {} is not true{}{}", file, line, condition,
                        message.empty() ? "" : ": ", message));
}

}  // namespace rondo::base
