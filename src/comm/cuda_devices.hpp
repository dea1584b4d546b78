// The CUDA devices that this process sees. A build without CUDA sees none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo::comm {

struct CudaDevice {
  std::string name;    // "NVIDIA H200"
  std::string bus_id;  // of the host's PCI bus: two with the same are one device
  int major = 0;       // of the compute capability
};

// Those of CUDA_VISIBLE_DEVICES, by index. Opens none of them. SystemError when CUDA fails.
std::vector<CudaDevice> cuda_devices();

// Bytes that are free on a device; opens it.
int64_t cuda_free_bytes(int index);

// Bytes that tensors on the current device have taken at most; 0 in a build without CUDA.
int64_t cuda_peak_bytes();

}  // namespace rondo::comm
