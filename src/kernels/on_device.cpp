#include "kernels/on_device.hpp"

#include <ATen/ATen.h>

namespace rondo::kernels {

at::Tensor on_device(const at::Tensor& host, at::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

}  // namespace rondo::kernels
