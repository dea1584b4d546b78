// Stands in for a CUDA device: what kernels/device/ asks of one, on the host.
#pragma once

namespace rondo::test {

// Whether kernels that are called from now on run as on a device.
void use_emulated_device(bool on);

}  // namespace rondo::test
