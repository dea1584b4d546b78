// The figures (figures.hpp) of every source of a packing.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "comm/control.hpp"
#include "data/choose.hpp"
#include "data/pack_inputs.hpp"

namespace rondo::data {

// Collective over all ranks, which count neighbouring parts of the examples. By source, the figures
// of its documents (Figures::to_json), the same on every rank.
std::vector<nlohmann::json> figures_of_sources(const PackInputs& inputs, const Documents& documents,
                                               comm::Control& control);

}  // namespace rondo::data
