#include "comm/selftest_nccl.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/error.hpp"
#include "base/units.hpp"
#include "comm/nccl_group.hpp"

namespace rondo::comm {

using base::Status;

NcclTested test_nccl(const Hosts& hosts, Control& control) {
  constexpr int64_t kElements = int64_t{16} << 20;
  constexpr int kTries = 4;
  const std::string check = "NCCL";
  if (!has_nccl()) return {{check, Status::kOk, "not in this build, which runs on CPU"}, nullptr};
  double seconds = std::numeric_limits<double>::infinity();
  bool right = true;
  std::string failure;
  try {
    const int index = hosts.local_rank(control.rank());
    std::shared_ptr<NcclDevice> device;
    at::Tensor ones;
    control.agree([&] {
      device = open_nccl_device(index);
      ones = at::ones({kElements}, at::TensorOptions()
                                       .dtype(at::kFloat)
                                       .device(at::kCUDA, static_cast<at::DeviceIndex>(index)));
    });
    const auto group = make_nccl_group(control, device);
    for (int i = 0; i < kTries; ++i) {
      const auto start = std::chrono::steady_clock::now();
      at::Tensor sum = ones.clone();
      group->all_sum(sum, Purpose::kOther).wait();
      const auto value = sum[kElements - 1].item<float>();
      const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
      right = right && value == static_cast<float>(group->size());
      seconds = std::min(seconds, spent.count());
    }
  } catch (const std::exception& error) {
    failure = error.what();
  }
  for (const std::string& text : control.gather_text(failure)) {
    if (text.empty()) continue;
    return {
        {check, Status::kWarning,
         fmt::format("not usable: {}. Start one rank for each GPU; a run on CPU does not need it",
                     text)},
        nullptr};
  }
  if (!control.all_true(right)) {
    return {{check, Status::kFailed,
             "a sum over all GPUs is wrong: test their memory and links (nvidia-smi, dcgmi diag)"},
            nullptr};
  }
  const auto bytes = 4 * kElements;
  return {{check, Status::kOk,
           fmt::format("all_sum of {} over {} GPUs in {} on rank 0", base::format_bytes(bytes),
                       control.size(), base::format_short(seconds))},
          {{"operation", "all_sum"}, {"bytes", bytes}, {"seconds", seconds}}};
}

}  // namespace rondo::comm
