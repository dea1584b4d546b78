// What the ledger of a run says about its models: which came from which, whether it is true, and
// where two runs part.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/ledger.hpp"

namespace rondo::train {

// The last line of each round and attempt, in the order of the ledger: the models there are.
std::vector<nlohmann::json> models_of(const std::vector<LedgerLine>& lines);

// The model of this round (the attempt that stands, else the last one), or with these digits as a
// digest.
std::optional<nlohmann::json> find_model(const std::vector<nlohmann::json>& models,
                                         const std::string& name_or_digest);

// The models that a model comes from, the first ones first, itself last.
std::vector<nlohmann::json> ancestors(const std::vector<nlohmann::json>& models,
                                      const nlohmann::json& model);

// "base > one > two", an average as "(one + two)".
std::string origin_in_words(const nlohmann::json& model);

// Called on one rank. What in a run folder is not as its ledger says, a sentence each: `wrong` is
// an error, `gone` may have been removed on purpose.
struct LedgerCheck {
  std::vector<std::string> wrong;
  std::vector<std::string> gone;
};
LedgerCheck check_ledger(const std::string& run_folder, const std::vector<LedgerLine>& lines);

// The first line in which two ledgers differ in content, and its keys that do; "" when one begins
// like the other and is as long.
std::string first_difference(const std::vector<LedgerLine>& a, const std::vector<LedgerLine>& b);

}  // namespace rondo::train
