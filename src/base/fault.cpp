#include "base/fault.hpp"

#include <signal.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>
#include <thread>

#include "base/error.hpp"

namespace rondo::base {

namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

[[noreturn]] void fail(std::string_view text) {
  fail_user(
      "RONDO_FAULT: '{}' is not point:rank:step:action, with a number or * for rank and step and "
      "kill, stop, throw, delay, delay=SECONDS or corrupt as the action.",
      text);
}

// A whole number, -1 for *, nothing for anything else.
std::optional<int64_t> number_or_any(std::string_view text) {
  if (text == "*") return -1;
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return {};
  return value;
}

}  // namespace

Faults::Faults(std::string_view text, int rank) {
  if (text.empty()) return;
  for (const std::string_view one : split(text, ',')) {
    const auto words = split(one, ':');
    if (words.size() != 4 || words[0].empty()) fail(one);
    const auto of_rank = number_or_any(words[1]);
    const auto step = number_or_any(words[2]);
    if (!of_rank || !step) fail(one);
    Fault fault = {.point = std::string(words[0]), .step = *step, .action = std::string(words[3])};
    if (fault.action.starts_with("delay")) {
      fault.seconds = 2;
      if (fault.action != "delay") {
        const auto seconds = fault.action.size() > 6 && fault.action[5] == '='
                                 ? number_or_any(std::string_view(fault.action).substr(6))
                                 : std::nullopt;
        if (!seconds || *seconds < 0) fail(one);
        fault.seconds = static_cast<double>(*seconds);
      }
      fault.action = "delay";
    }
    constexpr std::array<std::string_view, 5> kActions = {"kill", "stop", "throw", "delay",
                                                          "corrupt"};
    if (std::ranges::find(kActions, std::string_view(fault.action)) == kActions.end()) fail(one);
    if (*of_rank < 0 || *of_rank == rank) faults_.push_back(std::move(fault));
  }
}

bool Faults::reach(std::string_view point, int64_t step) {
  if (faults_.empty()) return false;
  std::string action;
  double seconds = 0;
  {
    const std::lock_guard hold(mutex_);
    for (Fault& fault : faults_) {
      if (fault.done || fault.point != point || (fault.step >= 0 && fault.step != step)) continue;
      fault.done = true;
      action = fault.action;
      seconds = fault.seconds;
      break;
    }
  }
  if (action == "kill") ::raise(SIGKILL);
  if (action == "stop") ::raise(SIGSTOP);
  if (action == "throw") {
    throw SystemError(fmt::format("RONDO_FAULT at {} of step {}", point, step));
  }
  if (action == "delay") std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  return action == "corrupt";
}

}  // namespace rondo::base
