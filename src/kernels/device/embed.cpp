#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/cuda/kernels.hpp"
#include "kernels/device.hpp"
#include "kernels/device/pointers.hpp"
#include "kernels/on_device.hpp"

namespace rondo::kernels::device {
namespace {

// The rows that have the same token of the table [first_id, first_id + ids), one group after
// another, each in ascending order.
struct Groups {
  std::vector<int32_t> order, begins, ids;
};
Groups groups_of(const at::Tensor& tokens_t, int64_t first_id, int64_t ids) {
  const int32_t* tokens = in<int32_t>(tokens_t);
  Groups groups;
  for (int32_t row = 0; row < static_cast<int32_t>(tokens_t.numel()); ++row) {
    const int64_t id = tokens[row] - first_id;
    if (id >= 0 && id < ids) groups.order.push_back(row);
  }
  std::ranges::stable_sort(groups.order, {}, [&](int32_t row) { return tokens[row]; });
  for (size_t i = 0; i < groups.order.size(); ++i) {
    const auto id = static_cast<int32_t>(tokens[groups.order[i]] - first_id);
    if (!groups.ids.empty() && groups.ids.back() == id) continue;
    groups.ids.push_back(id);
    groups.begins.push_back(static_cast<int32_t>(i));
  }
  groups.begins.push_back(static_cast<int32_t>(groups.order.size()));
  return groups;
}

}  // namespace

void embed(const at::Tensor& table_vd, const at::Tensor& tokens_t, at::Tensor& out_td,
           int64_t first_id) {
  by_element(out_td, [&](auto t) {
    using T = decltype(t);
    cuda::embed<T>(in<T>(table_vd), in<int32_t>(tokens_t), out<T>(out_td), first_id,
                   table_vd.size(0), tokens_t.numel(), table_vd.size(1), stream_of(out_td));
  });
}

void embed_backward(const at::Tensor& dout_td, const at::Tensor& tokens_t, at::Tensor& dtable_vd,
                    int64_t first_id) {
  const Groups groups = groups_of(tokens_t, first_id, dtable_vd.size(0));
  const auto upload = [&](const std::vector<int32_t>& values) {
    return on_device(at::tensor(values, at::kInt), dout_td.device());
  };
  const at::Tensor order = upload(groups.order);
  const at::Tensor begins = upload(groups.begins);
  const at::Tensor ids = upload(groups.ids);
  by_element(dout_td, [&](auto t) {
    using T = decltype(t);
    cuda::embed_backward<T>(in<T>(dout_td), in<int32_t>(order), in<int32_t>(begins),
                            in<int32_t>(ids), ids.numel(), out<float>(dtable_vd), dtable_vd.size(1),
                            stream_of(dout_td));
  });
}

}  // namespace rondo::kernels::device
