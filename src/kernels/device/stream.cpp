#include <c10/cuda/CUDAStream.h>

#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"

namespace rondo::kernels::device {

bool serves(const at::Tensor& tensor) { return tensor.is_cuda(); }

cuda::Stream stream_of(const at::Tensor& tensor) {
  return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

}  // namespace rondo::kernels::device
