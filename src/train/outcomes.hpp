// What gates have decided about rounds that ended, as the ledger tells it: results that were set
// aside are gone on from by no later start.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "train/config.hpp"

namespace rondo::train {

class Outcomes {
 public:
  Outcomes() = default;
  // The text of the ledger.
  explicit Outcomes(const std::string& lines);

  // How many results of the round were set aside: the number of its next attempt.
  int64_t attempt(const std::string& round) const;
  // Whether the round is not tried again.
  bool set_aside(const std::string& round) const;
  // Whether a run may go on from a checkpoint of this state.
  bool allow(const nlohmann::json& state) const;

 private:
  struct Of {
    int64_t attempts = 0;
    bool for_good = false;
  };
  std::map<std::string, Of> rounds_;
};

}  // namespace rondo::train
