// The group of all ranks on what a command computes on.
#pragma once

#include <memory>

#include "app/command.hpp"
#include "comm/nccl_group.hpp"
#include "train/device.hpp"

namespace rondo::app {

// Collective over all ranks: NCCL on GPUs, MPI on the hosts.
inline std::unique_ptr<comm::Group> compute_group(const train::ChosenDevice& device,
                                                  Context& context) {
  return device.cuda ? comm::make_nccl_group(context.control, device.cuda)
                     : context.runtime.make_group();
}

}  // namespace rondo::app
