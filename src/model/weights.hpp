// Which parameters a model has, how Hugging Face names them, and how they are grouped into units.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/shape.hpp"
#include "parallel/unit.hpp"

namespace rondo::model {

struct UnitPlan {
  std::string name;  // "embedding", "block.0", ..., "final"
  std::vector<parallel::Parameter> parameters;
};

// Units in forward order; parameters in the order of their use, q|k|v and gate|up joined. Weight
// decay applies to matrices, not to norms and biases. A tied model has no lm_head.weight.
std::vector<UnitPlan> unit_plans(const Shape& shape);

// Index of `name` within the unit. Bug when it is not there.
size_t index_of(const parallel::Unit& unit, const std::string& name);

// All parameters of all units, in order.
std::vector<parallel::Parameter> all_parameters(const Shape& shape);

}  // namespace rondo::model
