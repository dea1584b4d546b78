// Copies between the host and a device that do not make the host wait for the device.
#pragma once

#include <ATen/core/Tensor.h>

namespace rondo::kernels {

// A copy of a host tensor on the device, by way of pinned memory, in the order of the current
// stream; on the CPU the tensor itself.
at::Tensor on_device(const at::Tensor& host, at::Device device);

}  // namespace rondo::kernels
