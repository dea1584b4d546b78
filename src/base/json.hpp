// JSON of files that others may have made: strict where nlohmann's own functions are lax.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace rondo::base {

// Deepest nesting that is accepted: copying and writing a value take stack for each level.
inline constexpr int kJsonMaxDepth = 64;

// The value that a text holds. UserError, begun by `what` (such as a path) and ended by `advice`,
// where it is not JSON, is nested deeper than kJsonMaxDepth, or gives a key of an object twice.
nlohmann::json parse_json(std::string_view text, const std::string& what, std::string_view advice);
// The same, and nothing instead of an error.
std::optional<nlohmann::json> try_parse_json(std::string_view text);

// A whole number of 64 bits; nothing for any other value. (get<int64_t>() also takes truth values,
// fractions and numbers that are too large, which are undefined behaviour or changed.)
std::optional<int64_t> whole_number(const nlohmann::json& value);

}  // namespace rondo::base
