// Stands in for nccl_*.cpp in a build without CUDA.
#include "base/error.hpp"
#include "comm/cuda_devices.hpp"
#include "comm/nccl_group.hpp"

namespace rondo::comm {

std::vector<CudaDevice> cuda_devices() { return {}; }

int64_t cuda_free_bytes(int /*index*/) { return 0; }
int64_t cuda_peak_bytes() { return 0; }

bool has_nccl() { return false; }

class NcclDevice {};

std::shared_ptr<NcclDevice> open_nccl_device(int index) {
  base::fail_user(
      "CUDA device {} was asked for, but this rondo was built without NCCL. Configure with "
      "-DRONDO_CUDA=ON on a machine with the CUDA headers and NCCL, or run on CPU.",
      index);
}

std::unique_ptr<Group> make_nccl_group(Control& /*control*/,
                                       std::shared_ptr<NcclDevice> /*device*/) {
  base::fail_user(
      "A group of CUDA devices was asked for, but this rondo was built without NCCL. Configure "
      "with -DRONDO_CUDA=ON on a machine with the CUDA headers and NCCL, or run on CPU.");
}

}  // namespace rondo::comm
