// The model's shape from the configuration's `model.shape`.
#pragma once

#include "model/shape.hpp"
#include "train/config.hpp"

namespace rondo::train {

// Not validated.
model::Shape shape_of(const ShapeSection& section);

}  // namespace rondo::train
