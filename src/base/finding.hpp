// Finding: what one check of `rondo selftest` came to.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace rondo::base {

// The worst last. kWarning: works, but something is slow or odd; kFailed: a long job would not.
enum class Status { kOk, kWarning, kFailed };

inline std::string_view name_of(Status status) {
  return status == Status::kOk ? "ok" : status == Status::kWarning ? "warning" : "failed";
}

struct Finding {
  std::string check;  // a word: "links", "clocks"
  Status status = Status::kOk;
  std::string text;  // a sentence; with what to do unless ok
};

inline Status worst(const std::vector<Finding>& findings) {
  Status status = Status::kOk;
  for (const Finding& finding : findings) status = std::max(status, finding.status);
  return status;
}

}  // namespace rondo::base
