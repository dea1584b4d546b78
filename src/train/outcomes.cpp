#include "train/outcomes.hpp"

#include <algorithm>

#include "train/gates.hpp"
#include "train/ledger.hpp"

namespace rondo::train {

Outcomes::Outcomes(const std::string& lines) {
  for (const auto& [number, line] : ledger_lines(lines)) {
    if (!line.contains("round")) continue;
    const auto outcome = line.value("outcome", std::string());
    const bool for_good = outcome == name_of(Outcome::kSetAside);
    if (!for_good && outcome != name_of(Outcome::kRetried)) continue;
    Of& round = rounds_[line["round"].get<std::string>()];
    round.attempts = std::max(round.attempts, line.value("attempt", int64_t{0}) + 1);
    round.for_good = round.for_good || for_good;
  }
}

int64_t Outcomes::attempt(const std::string& round) const {
  const auto found = rounds_.find(round);
  return found == rounds_.end() ? 0 : found->second.attempts;
}

bool Outcomes::set_aside(const std::string& round) const {
  const auto found = rounds_.find(round);
  return found != rounds_.end() && found->second.for_good;
}

bool Outcomes::allow(const nlohmann::json& state) const {
  const auto round = state.value("round_name", std::string());
  return !set_aside(round) && state.value("attempt", int64_t{0}) >= attempt(round);
}

}  // namespace rondo::train
