// AdamW on the shards of units, and the global norm of their gradients.
#pragma once

#include <cstdint>
#include <vector>

#include "parallel/mesh.hpp"
#include "parallel/unit.hpp"

namespace rondo::parallel {

struct AdamWSettings {
  double lr = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;  // of parameters with `decay`
};

// Sums of squares, in float64, of a unit's owned, reduced gradients. On a device they are only
// queued here; entries() waits for them.
class OwnedSquaredNorms {
 public:
  explicit OwnedSquaredNorms(const Unit& unit);
  // One for each part that the unit's buckets are cut into, zero for parts that other ranks own.
  // Parameters that several tensor ranks hold count once over all of them.
  std::vector<double> entries() const;

 private:
  struct Piece {
    size_t entry;
    int copies;
  };
  int64_t parts_;
  std::vector<Piece> pieces_;
  at::Tensor sums_;  // by piece
};

// Collective over shard and tensor groups. The sum of such entries over all parts and ranks, added
// up in one order: the same bits on every rank, and for every shard size that divides the parts.
double sum_of_squares(const std::vector<double>& entries, Mesh& mesh);

// One update of the owned weights from the owned, reduced gradients * grad_scale. `step` counts
// updates from 1 for the bias correction. Not collective; the weights are then to be gathered.
void update_owned(Unit& unit, const AdamWSettings& settings, int64_t step, double grad_scale);

}  // namespace rondo::parallel
