#include "fuzz/input.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <span>

#include "base/file.hpp"
#include "support/temp_folder.hpp"

namespace rondo::fuzz {

std::string_view Input::take(size_t count) {
  const std::string_view taken = rest_.substr(0, count);
  rest_.remove_prefix(taken.size());
  return taken;
}

uint8_t Input::byte() {
  const std::string_view one = take(1);
  return one.empty() ? 0 : static_cast<uint8_t>(one[0]);
}

int64_t Input::number() {
  using Of64 = std::numeric_limits<int64_t>;
  constexpr std::array kEnds = {Of64::min(),
                                Of64::min() + 1,
                                Of64::max(),
                                Of64::max() - 1,
                                Of64::max() / 2,
                                Of64::max() / 4 + 1,
                                int64_t{std::numeric_limits<int32_t>::min()},
                                int64_t{std::numeric_limits<int32_t>::max()},
                                int64_t{std::numeric_limits<uint32_t>::max()},
                                int64_t{1} << 32,
                                int64_t{1} << 40,
                                int64_t{1} << 62,
                                int64_t{65535},
                                int64_t{65536},
                                int64_t{1000},
                                int64_t{256}};
  const uint8_t kind = byte();
  if (kind < 200) return int64_t{kind} - 20;
  if (kind < 200 + kEnds.size()) return kEnds[kind - 200U];
  const std::string_view bytes = take(sizeof(int64_t));
  int64_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  return value;
}

std::string_view Input::text() { return take(byte()); }

std::string_view Input::until(char end) {
  const std::string_view taken = take(rest_.find(end));
  take(1);
  return taken;
}

std::string_view Input::rest() { return take(rest_.size()); }

const std::string& folder() {
  static const test::TempFolder made;
  return made.path();
}

std::string write_file(const std::string& name, std::string_view bytes) {
  std::string path = folder() + "/" + name;
  ::unlink(path.c_str());
  base::File file = base::File::create(path);
  file.write_at(0, std::as_bytes(std::span(bytes.data(), bytes.size())));
  file.close();
  return path;
}

}  // namespace rondo::fuzz
