#ifdef RONDO_EMULATED
#include "kernels/emulation/emulation.hpp"
// Behind the emulation.
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "kernels/cuda/device.cuh"
#include "kernels/device/on_device.hpp"

namespace rondo::kernels::cuda {
namespace {

TEST(DeviceBf16, IsRoundedAsTorchRounds) {
  std::vector<float> values;
  for (uint32_t bits = 0; bits < 0xffffff00U; bits += 0x1fff) {
    values.push_back(std::bit_cast<float>(bits));
  }
  // Halfway between two, to the even one below and above.
  for (const uint32_t bits : {0x3f808000U, 0x3f818000U, 0x3f808001U, 0x7f7fffffU, 0x7f800000U}) {
    values.push_back(std::bit_cast<float>(bits));
    values.push_back(-std::bit_cast<float>(bits));
  }
  const at::Tensor expected = at::tensor(values).to(at::kBFloat16).to(at::kFloat);
  for (size_t i = 0; i < values.size(); ++i) {
    const float found = to_float(from_float<Bf16>(values[i]));
    const float torch = expected[static_cast<int64_t>(i)].item<float>();
    if (std::isnan(torch)) {
      EXPECT_TRUE(std::isnan(found));
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(found), std::bit_cast<uint32_t>(torch)) << values[i];
    }
  }
}

}  // namespace
}  // namespace rondo::kernels::cuda
#endif
