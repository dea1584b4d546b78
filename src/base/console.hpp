// What rondo says to a person. Rank 0 holds an active console, all others a silent one, so that
// every line appears once. Library code gets a Console passed in; nothing prints by itself.
#pragma once

#include <fmt/format.h>

#include <string_view>
#include <utility>

namespace rondo::base {

// A line on standard error, by any rank: what it ends with. Never throws for what cannot be
// written.
void print_error(std::string_view text);

class Console {
 public:
  explicit Console(bool active);

  // A line of its own on standard output; ends a running progress line first.
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    if (active_) write_line(fmt::format(format, std::forward<Args>(args)...));
  }
  // A warning, on standard error.
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) {
    if (active_) write_warning(fmt::format(format, std::forward<Args>(args)...));
  }
  // Overwrites the progress line on a terminal; elsewhere prints a plain line.
  void progress(std::string_view text);
  // True when standard output is a terminal, so that progress() may be called at every step.
  bool interactive() const { return interactive_; }
  bool active() const { return active_; }
  // True when standard output has not taken everything; nothing is thrown for it.
  bool lost() const { return lost_; }

 private:
  void write(std::string_view text);
  void write_line(std::string_view text);
  void write_warning(std::string_view text);
  void end_progress();
  bool active_;
  bool interactive_;
  bool in_progress_ = false;
  bool lost_ = false;
};

}  // namespace rondo::base
