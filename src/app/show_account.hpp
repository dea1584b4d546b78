// The account of a packed set (data/pack_report.hpp) in lines for a person.
#pragma once

#include <nlohmann/json.hpp>

#include "base/console.hpp"

namespace rondo::app {

// For each source: every number that is not 0, then what its documents are like.
void show_account(const nlohmann::json& account, base::Console& console);

}  // namespace rondo::app
