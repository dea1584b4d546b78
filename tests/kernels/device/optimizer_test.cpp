#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/device/on_device.hpp"
#include "kernels/kernels.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::OnDevice;

TEST(DeviceAdamW, HasTheBitsOfTheCpu) {
  for (const int64_t count : {1, 5, 1024, 5003}) {
    for (const int64_t shift : {0, 1}) {
      SCOPED_TRACE(fmt::format("{} elements, shifted by {}", count, shift));
      const at::Tensor grads = normal({count}, 1, 0.3);
      at::Tensor weights = normal({count}, 2), m = normal({count}, 3, 0.1);
      at::Tensor v = normal({count}, 4, 0.1).square();
      OnDevice<float> grads_there(grads, shift), weights_there(weights, shift), m_there(m, shift);
      OnDevice<float> v_there(v, shift), scale(at::full({1}, 0.37F));
      OnDevice<test::Bf16> rounded({count}, shift);
      cuda::adamw({.lr = 3e-3, .beta1 = 0.9, .beta2 = 0.95, .weight_decay = 0.1, .step = 7},
                  grads_there.data(), scale.data(), weights_there.data(), m_there.data(),
                  v_there.data(), rounded.data(), count, nullptr);
      adamw({.lr = 3e-3,
             .beta1 = 0.9,
             .beta2 = 0.95,
             .weight_decay = 0.1,
             .step = 7,
             .grad_scale = 0.37F},
            grads, weights, m, v);
      EXPECT_TRUE(test::same_bits(weights_there.get(), weights));
      EXPECT_TRUE(test::same_bits(m_there.get(), m));
      EXPECT_TRUE(test::same_bits(v_there.get(), v));
      EXPECT_TRUE(test::same_bits(rounded.get(), test::rounded<test::Bf16>(weights)));
    }
  }
}

TEST(DeviceAdamW, HasTheBitsOfTheCpuWithMomentsInBf16) {
  for (const int64_t count : {1, 7, 1024, 5003}) {
    for (const int64_t shift : {0, 1}) {
      SCOPED_TRACE(fmt::format("{} elements, shifted by {}", count, shift));
      const at::Tensor grads = normal({count}, 1, 0.3);
      at::Tensor weights = normal({count}, 2);
      at::Tensor m = normal({count}, 3, 0.1).to(at::kBFloat16);
      at::Tensor v = normal({count}, 4, 0.1).square().to(at::kBFloat16);
      OnDevice<float> grads_there(grads, shift), weights_there(weights, shift);
      OnDevice<test::Bf16> m_there(m, shift), v_there(v, shift);
      OnDevice<float> scale(at::full({1}, 0.37F));
      cuda::adamw({.lr = 3e-3, .step = 7, .noise_key = 99, .first = 1000}, grads_there.data(),
                  scale.data(), weights_there.data(), m_there.data(), v_there.data(), nullptr,
                  count, nullptr);
      adamw({.lr = 3e-3, .step = 7, .grad_scale = 0.37F, .noise_key = 99, .first = 1000}, grads,
            weights, m, v);
      EXPECT_TRUE(test::same_bits(weights_there.get(), weights));
      EXPECT_TRUE(test::same_bits(m_there.get(), m.to(at::kFloat)));
      EXPECT_TRUE(test::same_bits(v_there.get(), v.to(at::kFloat)));
    }
  }
}

TEST(DeviceSquaredNorm, HasTheBitsOfTheCpu) {
  for (const int64_t count : {0, 1, 15, 16, 65535, 65536, 65537, 1'000'003}) {
    const at::Tensor values = normal({count}, 1, 100.0);
    OnDevice<float> there(values);
    OnDevice<double> workspace({std::max<int64_t>(1, cuda::squared_norm_workspace(count))});
    OnDevice<double> result({1});
    cuda::squared_norm(there.data(), count, workspace.data(), result.data(), nullptr);
    EXPECT_EQ(result.get().item<double>(), squared_norm(values)) << count;
  }
}

}  // namespace
}  // namespace rondo::kernels
