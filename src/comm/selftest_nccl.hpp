// Whether the GPUs of a run's ranks reach each other: the part of `rondo selftest` that needs NCCL.
#pragma once

#include <nlohmann/json.hpp>

#include "base/finding.hpp"
#include "comm/control.hpp"
#include "comm/hosts.hpp"

namespace rondo::comm {

struct NcclTested {
  base::Finding finding;  // "NCCL"; ok and "not in this build" without the backend
  nlohmann::json json;    // null where nothing was measured
};

// Collective over all ranks, each with the device of its place on its host: one all_sum.
NcclTested test_nccl(const Hosts& hosts, Control& control);

}  // namespace rondo::comm
