#include "base/console.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/utf8.hpp"

namespace rondo::base {

namespace {

// mpirun gives each rank a terminal of its own even when its output goes to a file; launch/run
// knows the truth and says it in RONDO_TERMINAL.
bool is_terminal() {
  if (const char* said = std::getenv("RONDO_TERMINAL")) return std::string_view(said) == "1";
  return std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr && ::isatty(STDOUT_FILENO) == 1;
}

}  // namespace

Console::Console(bool active) : active_(active), interactive_(is_terminal()) {}

void Console::end_progress() {
  if (in_progress_) fmt::print("\n");
  in_progress_ = false;
}

void Console::write_line(std::string_view text) {
  end_progress();
  fmt::print("{}\n", printable(text));
  std::fflush(stdout);
}

void Console::write_warning(std::string_view text) {
  end_progress();
  std::fflush(stdout);
  fmt::print(stderr, "warning: {}\n", printable(text));
}

void Console::progress(std::string_view text) {
  if (!active_) return;
  if (!interactive_) {
    write_line(text);
    return;
  }
  fmt::print("\r\033[K{}", text);
  std::fflush(stdout);
  in_progress_ = true;
}

}  // namespace rondo::base
