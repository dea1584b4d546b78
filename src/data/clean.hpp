// Cleaning: which of the examples of a packing are left out, and a report on why.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "data/pack_inputs.hpp"
#include "data/pack_report.hpp"
#include "data/pack_request.hpp"

namespace rondo::data {

struct Cleaned {
  std::vector<std::vector<int64_t>> kept;  // by source: numbers in PackInputs, ascending
  nlohmann::json report;                   // on the first rank: docs/formats/packed.md
  std::string refusal;                     // why the packing must not be published; "" if it may
};

// Collective over all ranks, which share the work; `kept`, `refusal` and the counts in `accounts`
// are the same on every rank and for any number of them. `usable`: by source the examples that can
// be packed, ascending. What is replayed is checked against evaluation sets alone.
Cleaned clean(const PackRequest& request, const PackInputs& inputs,
              const std::vector<std::vector<int64_t>>& usable, std::vector<SourceAccount>& accounts,
              comm::Control& control, comm::Group& group);

}  // namespace rondo::data
