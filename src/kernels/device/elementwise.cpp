#include "kernels/cuda/kernels.hpp"
#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"

namespace rondo::kernels::device {

void rope(at::Tensor& x, int64_t row_stride, int64_t heads, int64_t head_width,
          const at::Tensor& positions_t, const at::Tensor& cos, const at::Tensor& sin,
          bool inverse) {
  by_element(x, [&](auto t) {
    using T = decltype(t);
    cuda::rope<T>(out<T>(x), row_stride, heads, head_width, in<int32_t>(positions_t),
                  in<float>(cos), in<float>(sin), inverse, positions_t.numel(), stream_of(x));
  });
}

void swiglu(const at::Tensor& gate_up_t2f, at::Tensor& out_tf) {
  by_element(out_tf, [&](auto t) {
    using T = decltype(t);
    cuda::swiglu<T>(in<T>(gate_up_t2f), out<T>(out_tf), out_tf.size(0), out_tf.size(1),
                    stream_of(out_tf));
  });
}

void swiglu_backward(const at::Tensor& dout_tf, at::Tensor& gate_up_t2f) {
  by_element(dout_tf, [&](auto t) {
    using T = decltype(t);
    cuda::swiglu_backward<T>(in<T>(dout_tf), out<T>(gate_up_t2f), dout_tf.size(0), dout_tf.size(1),
                             stream_of(dout_tf));
  });
}

}  // namespace rondo::kernels::device
