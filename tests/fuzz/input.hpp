// What the fuzz targets share: the bytes of an input taken apart, files made of them, and the law
// that readers obey (docs/fuzzing.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace rondo::fuzz {

// An input's bytes, taken from the front; zeros where there are none left.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  uint8_t byte();
  // 0 to count - 1, of one byte.
  size_t below(size_t count) { return byte() % count; }
  // Small numbers and the ends of the integer types from one byte, any other from nine.
  int64_t number();
  // Up to 255 bytes; the first says how many.
  std::string_view text();
  // Everything up to `end`, which is taken too, or to the end of the input.
  std::string_view until(char end);
  std::string_view rest();

 private:
  std::string_view take(size_t count);
  std::string_view rest_;
};

// An empty folder for the files of this process, removed when it ends as it should.
const std::string& folder();
// Makes or replaces folder()/name; its path.
std::string write_file(const std::string& name, std::string_view bytes);

// Errors by which a reader may refuse an input. SystemErrors are for targets whose files a library
// reads that names its own failed calls.
enum class Refusal { kUserError, kSystemErrorToo };

// Whether `read` accepts its input. Everything it may not do ends the process: any other exception
// is left to escape.
template <class Read>
bool accepts(const Read& read, Refusal refusal = Refusal::kUserError) {
  try {
    read();
    return true;
  } catch (const base::UserError& error) {
    RONDO_CHECK(*error.what() != '\0', "an error without a text");
  } catch (const base::SystemError&) {
    if (refusal == Refusal::kUserError) throw;
  }
  return false;
}

}  // namespace rondo::fuzz
