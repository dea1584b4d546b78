// Which units are whole at which moment of a pass, and the gather of the next ones beside the
// computation of the present ones. With whole weights on every rank only those that an update has
// changed are gathered, two uses ahead; with transient ones (ZeRO-3) at most the present and the
// next are here.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "parallel/unit.hpp"

namespace rondo::parallel {

class Prefetch {
 public:
  // `uses`: the units needed at the same time, one use after another. All ranks of the shard group
  // have the same list.
  Prefetch(std::deque<Unit>& units, std::vector<std::vector<size_t>> uses)
      : units_(units), uses_(std::move(uses)) {}

  // Collective over the shard group. Ends the present use and begins the next one: its units are
  // whole on return, those of the uses after it are on their way.
  void next();
  // Ends the last use.
  void finish();

 private:
  bool used_at(size_t unit, size_t use) const;
  void release_after(size_t use);

  std::deque<Unit>& units_;
  std::vector<std::vector<size_t>> uses_;
  size_t begun_ = 0;
};

}  // namespace rondo::parallel
