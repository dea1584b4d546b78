// What a rank owns of a unit, as float32 in host memory: where it lies there so, its own memory,
// else a copy that read() fills and write() brings back.
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/unit.hpp"

namespace rondo::parallel {

class OwnedOnHost {
 public:
  // With Adam's moments or without. `unit` must outlive this. A copy holds zeros yet.
  OwnedOnHost(const Unit& unit, bool moments);

  // From the segment's begin on.
  float* weights(const OwnedSegment& segment) const;
  float* exp_avg(const OwnedSegment& segment) const { return at(exp_avg_, segment); }
  float* exp_avg_sq(const OwnedSegment& segment) const { return at(exp_avg_sq_, segment); }

  // Nothing for what is no copy. Both wait for a device.
  void read();
  void write();

 private:
  static float* at(const at::Tensor& shard, const OwnedSegment& segment);
  template <class Copy>
  void for_each_copy(const Copy& copy);

  const Unit& unit_;
  at::Tensor weights_;  // a copy, bucket by bucket, or undefined
  at::Tensor exp_avg_, exp_avg_sq_;
};

}  // namespace rondo::parallel
