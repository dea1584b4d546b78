// The NCCL backend of Group: collectives of CUDA tensors.
//
// A build has either nccl_group.cpp or no_nccl.cpp, which says so in words when it is asked for a
// group. All groups of one device launch on that device's one communication stream, so that two
// communicators can never wait for each other in different orders.
#pragma once

#include <memory>

#include "comm/control.hpp"
#include "comm/group.hpp"

namespace rondo::comm {

// True when this build has the NCCL backend.
bool has_nccl();

// A CUDA device and its communication stream; shared by the groups on it.
class NcclDevice;
// It becomes the current device of this thread. UserError in a build without NCCL; SystemError when
// the device cannot be opened.
std::shared_ptr<NcclDevice> open_nccl_device(int index);

// Collective over `control`: a group of its ranks, one device each. Tensors are contiguous, on the
// device (those on the host go by way of it, and Work::wait then waits for them), of type float32,
// float64, bfloat16, float16, int64, int32 or uint8. An operation starts after what the current
// CUDA stream holds at the call; Work::wait orders the then current stream after the operation and
// does not block the host. Tensors are to be used and freed in the order of that stream. Errors
// that NCCL finds later are thrown by poll() and by the next wait().
std::unique_ptr<Group> make_nccl_group(Control& control, std::shared_ptr<NcclDevice> device);

}  // namespace rondo::comm
