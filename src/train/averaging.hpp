// Averages of the weights of several models, streamed: the memory of one unit.
#pragma once

#include <string>
#include <vector>

#include "base/console.hpp"
#include "comm/control.hpp"
#include "model/model.hpp"
#include "train/weight_source.hpp"

namespace rondo::train {

struct Member {
  WeightSource* source;
  double weight;
};

// Collective over all ranks of `control`, which are the model's. Into `model` (not its moments): of
// every element the sum of weight * element over the members, in their order, over the sum of the
// weights, in float64, rounded once to float32. In NumPy, to the bit:
//   np.average(np.stack(members).astype(np.float64), axis=0, weights=weights).astype(np.float32)
// One member gives itself. Model soups: Wortsman et al. 2022.
void load_average(const std::vector<Member>& members, model::Model& model, comm::Control& control,
                  base::Console& console);

}  // namespace rondo::train
