// Which parameters a model has, how Hugging Face names them, and how they are grouped into units.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

// Heads and feed-forward width that one of `tensor` ranks computes with; hidden and vocabulary are
// the model's. A feed-forward width that does not divide is rounded up (parallel/parameter.hpp).
Shape local_shape(const Shape& shape, int tensor);

// Whether query and key/value heads divide over `tensor` ranks, or these over the latter.
bool fits_tensor_size(const Shape& shape, int64_t tensor);
// UserError, with the arithmetic and the usable sizes, unless the heads divide over `tensor` ranks.
// `subject` begins the message ("configs/a.yaml: parallel.tensor").
void check_tensor_size(const Shape& shape, int64_t tensor, std::string_view subject);

// Index of `name` within the unit. Bug when it is not there.
size_t index_of(const parallel::Unit& unit, const std::string& name);

// All parameters of all units, in order.
std::vector<parallel::Parameter> all_parameters(const Shape& shape);

}  // namespace rondo::model
