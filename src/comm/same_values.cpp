#include "comm/same_values.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "comm/call.hpp"

namespace rondo::comm {

std::string differing_text(const std::vector<std::string>& values) {
  std::vector<std::string> kinds;
  std::vector<std::vector<int>> ranks;
  for (size_t rank = 0; rank < values.size(); ++rank) {
    const auto place = static_cast<size_t>(std::ranges::find(kinds, values[rank]) - kinds.begin());
    if (place == kinds.size()) {
      kinds.push_back(values[rank]);
      ranks.emplace_back();
    }
    ranks[place].push_back(static_cast<int>(rank));
  }
  std::string text;
  if (kinds.size() < 2) return text;
  for (size_t i = 0; i < kinds.size(); ++i) {
    text += fmt::format("{}{} {} {}", i == 0 ? "" : "; ", ranks_text(ranks[i]),
                        ranks[i].size() == 1 ? "has" : "have", kinds[i]);
  }
  return text;
}

}  // namespace rondo::comm
