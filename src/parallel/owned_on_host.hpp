// What a rank owns of a unit, as host memory: where a unit lies on the host its own memory, else a
// copy that read() fills from the device and write() brings back to it.
#pragma once

#include <ATen/core/Tensor.h>

#include "parallel/unit.hpp"

namespace rondo::parallel {

class OwnedOnHost {
 public:
  // With Adam's moments or without. `unit` must outlive this. A copy holds nothing yet.
  OwnedOnHost(const Unit& unit, bool moments);

  // From the segment's begin on.
  float* weights(const OwnedSegment& segment) const;
  float* exp_avg(const OwnedSegment& segment) const { return moment(exp_avg_, segment); }
  float* exp_avg_sq(const OwnedSegment& segment) const { return moment(exp_avg_sq_, segment); }

  // Nothing where there is no copy. Both wait for the device.
  void read();
  void write();

 private:
  bool copied() const { return weights_.defined(); }
  static float* moment(const at::Tensor& moments, const OwnedSegment& segment);
  template <class Copy>
  void for_each_tensor(const Copy& copy);

  const Unit& unit_;
  at::Tensor weights_;  // of a copy, bucket by bucket; else undefined
  at::Tensor exp_avg_, exp_avg_sq_;
};

}  // namespace rondo::parallel
