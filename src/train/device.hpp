// What is computed on: `device` and `precision` of the configuration, for the machine at hand.
#pragma once

#include <memory>
#include <string>

#include "comm/control.hpp"
#include "comm/group.hpp"
#include "comm/nccl_group.hpp"
#include "parallel/unit.hpp"
#include "train/config.hpp"

namespace rondo::train {

struct ChosenDevice {
  std::shared_ptr<comm::NcclDevice> cuda;  // null: CPUs
  int index = 0;
  std::string name;        // of this rank's GPU
  int64_t free_bytes = 0;  // of its memory
};

struct WantedDevice {
  std::string place;      // for messages
  std::string device;     // auto, cpu or cuda
  std::string precision;  // auto, fp32 or bf16
};

// Each is collective over all ranks. `auto` of what is wanted becomes what is chosen. The GPU of a
// rank is the one of its number on its host among those that it sees, or the only one. UserError
// when GPUs are asked for and a rank has none, or shares its own with another.
ChosenDevice choose_device(Config& config, const std::string& host, comm::Control& control);
ChosenDevice choose_device(WantedDevice& wanted, const std::string& host, comm::Control& control);

// How a model computes that was chosen for; without a training's part of the settings.
parallel::StateSettings computing(const std::string& device, const std::string& precision,
                                  const std::string& moments);

}  // namespace rondo::train
