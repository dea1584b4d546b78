// What the speed of a step is a share of: on CPUs that of a plain float32 matrix product in the
// same process, on GPUs the peak of the data sheet.
#pragma once

#include <string>

#include "comm/group.hpp"

namespace rondo::train {

// Collective over the group. Best of 12 at::mm of [2048, 512] x [512, 1408], run by all ranks at
// once; FLOP/s summed over ranks.
double calibrate(comm::Group& group);

// Collective over the group. The same; FLOP/s of this rank.
double calibrate_rank(comm::Group& group);

// Of a GPU, by the name that CUDA gives it.
struct Peak {
  double flops = 0;  // dense bfloat16 FLOP/s of the data sheet; 0: not known here
  bool measured = false;
};
Peak data_sheet_peak(const std::string& gpu);
// The same; for a GPU that is not known, of bfloat16 products of [4096, 4096] on the current
// device.
Peak peak_of(const std::string& gpu);

}  // namespace rondo::train
