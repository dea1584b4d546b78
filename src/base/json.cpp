#include "base/json.hpp"

#include <limits>
#include <set>
#include <vector>

#include "base/error.hpp"

namespace rondo::base {

using Json = nlohmann::json;

Json parse_json(std::string_view text, const std::string& what, std::string_view advice) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    if (depth >= kJsonMaxDepth && (event == Event::object_start || event == Event::array_start)) {
      fail_user("{} is nested deeper than {} levels. {}", what, kJsonMaxDepth, advice);
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(value.get<std::string>()).second) {
      fail_user("{} has the key \"{}\" twice; each name must occur once. {}", what,
                value.get<std::string>(), advice);
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& error) {
    fail_user("{} is not valid JSON: {}. {}", what, error.what(), advice);
  }
}

std::optional<Json> try_parse_json(std::string_view text) {
  try {
    return parse_json(text, "", "");
  } catch (const UserError&) {
    return std::nullopt;
  }
}

std::optional<int64_t> whole_number(const Json& value) {
  constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (!value.is_number_integer()) return std::nullopt;
  if (value.is_number_unsigned() && value.get<uint64_t>() > kMost) return std::nullopt;
  return value.get<int64_t>();
}

}  // namespace rondo::base
