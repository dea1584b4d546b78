// What plan/ needs to know of a model and a layout of this program.
#pragma once

#include "model/shape.hpp"
#include "plan/dimensions.hpp"
#include "train/layout.hpp"

namespace rondo::train {

plan::Dimensions dimensions_of(const model::Shape& shape);
plan::Layout plan_layout(const Layout& layout, const model::Shape& shape);

}  // namespace rondo::train
