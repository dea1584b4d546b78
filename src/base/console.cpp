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

// A log on a full disk, or a reader that is gone, must not end what is at work.
bool put(std::FILE* stream, std::string_view text) {
  const bool whole = std::fwrite(text.data(), 1, text.size(), stream) == text.size();
  const bool flushed = std::fflush(stream) == 0;
  std::clearerr(stream);
  return whole && flushed;
}

}  // namespace

void print_error(std::string_view text) {
  std::fflush(stdout);
  put(stderr, printable(text) + "\n");
}

Console::Console(bool active) : active_(active), interactive_(is_terminal()) {}

void Console::write(std::string_view text) {
  if (!put(stdout, text)) lost_ = true;
}

void Console::end_progress() {
  if (in_progress_) write("\n");
  in_progress_ = false;
}

void Console::write_line(std::string_view text) {
  end_progress();
  write(printable(text) + "\n");
}

void Console::write_warning(std::string_view text) {
  end_progress();
  print_error(fmt::format("warning: {}", text));
}

void Console::progress(std::string_view text) {
  if (!active_) return;
  if (!interactive_) {
    write_line(text);
    return;
  }
  write(fmt::format("\r\033[K{}", text));
  in_progress_ = true;
}

}  // namespace rondo::base
