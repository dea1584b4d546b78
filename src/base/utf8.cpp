#include "base/utf8.hpp"

#include <fmt/format.h>

#include <bit>

#include "base/error.hpp"

namespace rondo::base {

Character first_character(std::string_view text) {
  RONDO_CHECK(!text.empty());
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {1, first};
  if (first < 0xC2 || first > 0xF4) return {1, std::nullopt};
  const auto length = static_cast<size_t>(std::countl_one(first));
  uint32_t code = first & (0x7FU >> length);
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size() || (byte(i) & 0xC0) != 0x80) return {i, std::nullopt};
    code = code << 6 | (byte(i) & 0x3FU);
  }
  return {length, code};
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Character character = first_character(text);
    const std::string_view bytes = text.substr(0, character.bytes);
    text.remove_prefix(character.bytes);
    const bool control =
        bytes[0] >= 0 && bytes[0] < ' ' && bytes[0] != '\n' && bytes[0] != '\t' && bytes[0] != '\r';
    if (character.code && !control) {
      out += bytes;
      continue;
    }
    for (const char byte : bytes) out += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
  }
  return out;
}

}  // namespace rondo::base
