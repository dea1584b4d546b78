// Stands in for device/ in a build without CUDA: serves no tensor.
#include "base/error.hpp"
#include "kernels/device.hpp"

namespace rondo::kernels::device {
namespace {

[[noreturn]] void missing() { throw base::Bug("this rondo was built without kernels for GPUs"); }

}  // namespace

bool serves(const at::Tensor& /*tensor*/) { return false; }

void rms_norm(const at::Tensor&, const at::Tensor&, double, at::Tensor&, at::Tensor&) { missing(); }
void rms_norm_again(const at::Tensor&, const at::Tensor&, const at::Tensor&, at::Tensor&) {
  missing();
}
void add_rms_norm(const at::Tensor&, const at::Tensor&, const at::Tensor&, double, at::Tensor&,
                  at::Tensor&, at::Tensor&) {
  missing();
}
void rms_norm_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                       bool, at::Tensor&, at::Tensor&) {
  missing();
}
void rope(at::Tensor&, int64_t, int64_t, int64_t, const at::Tensor&, const at::Tensor&,
          const at::Tensor&, bool) {
  missing();
}
void swiglu(const at::Tensor&, at::Tensor&) { missing(); }
void swiglu_backward(const at::Tensor&, at::Tensor&) { missing(); }
void attention(const at::Tensor&, const AttentionShape&, const PackedLayout&, at::Tensor&,
               at::Tensor&) {
  missing();
}
void attention_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                        const AttentionShape&, const PackedLayout&, at::Tensor&) {
  missing();
}
LossSums head_loss(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                   const at::Tensor&, double, at::Tensor*, at::Tensor*, RowLosses*,
                   const HeadOptions&) {
  missing();
}
void embed(const at::Tensor&, const at::Tensor&, at::Tensor&, int64_t) { missing(); }
void embed_backward(const at::Tensor&, const at::Tensor&, at::Tensor&, int64_t) { missing(); }
void adamw(const AdamStep&, const at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&) { missing(); }
at::Tensor squared_norms(std::span<const at::Tensor>) { missing(); }
void matmul(const at::Tensor&, const at::Tensor&, at::Tensor&, bool) { missing(); }

}  // namespace rondo::kernels::device
