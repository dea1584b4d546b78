#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>

#include <array>

#include "comm/cuda_devices.hpp"
#include "comm/nccl_try.hpp"

namespace rondo::comm {

std::vector<CudaDevice> cuda_devices() {
  int count = 0;
  // A machine without a driver, or with one that is too old for this CUDA, has no devices for us.
  if (cudaGetDeviceCount(&count) != cudaSuccess) return {};
  std::vector<CudaDevice> devices;
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    TRY_CUDA(cudaGetDeviceProperties(&properties, index));
    std::array<char, 32> id{};
    TRY_CUDA(cudaDeviceGetPCIBusId(id.data(), static_cast<int>(id.size()), index));
    devices.push_back({.name = properties.name, .bus_id = id.data(), .major = properties.major});
  }
  return devices;
}

int64_t cuda_free_bytes(int index) {
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
  size_t free = 0, total = 0;
  TRY_CUDA(cudaMemGetInfo(&free, &total));
  return static_cast<int64_t>(free);
}

int64_t cuda_peak_bytes() {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  if (!allocator::get()->initialized()) return 0;  // nothing was computed there
  const auto stats = allocator::getDeviceStats(c10::cuda::current_device());
  return stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)]
      .peak;
}

}  // namespace rondo::comm
