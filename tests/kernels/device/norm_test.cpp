#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/device/on_device.hpp"
#include "kernels/reference.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::OnDevice;
using test::relative_error;
using test::rounded;
using test::unwritten;

constexpr double kEps = 1e-5;

template <class T>
class DeviceNorm : public ::testing::Test {
 protected:
  // Rows that a warp and that a block takes; lengths around sixteen bytes and around the threads.
  template <class Use>
  void for_shapes(Use use) {
    for (const int64_t d : {1, 7, 8, 31, 64, 1000, 1024, 1032, 2051}) {
      for (const int64_t rows : {3, 9, 300}) {
        // More rows than groups of the backward; those of blocks are emulated slowly.
        if ((d > 8 && rows > 9) || (d > 1024 && rows > 3)) continue;
        for (const int64_t shift : {0, 1}) {
          SCOPED_TRACE(fmt::format("{} rows of {}, shifted by {}", rows, d, shift));
          use(rows, d, shift);
        }
      }
    }
  }
};

TYPED_TEST_SUITE(DeviceNorm, test::DeviceTypes);

TYPED_TEST(DeviceNorm, EqualsItsReference) {
  using T = TypeParam;
  this->for_shapes([](int64_t rows, int64_t d, int64_t shift) {
    const at::Tensor x = rounded<T>(normal({rows, d}, 1, 3.0));
    const at::Tensor weight = rounded<T>(normal({d}, 2));
    OnDevice<T> x_there(x, shift), weight_there(weight, shift), out({rows, d}, shift);
    OnDevice<float> rstd({rows});
    cuda::rms_norm(x_there.data(), weight_there.data(), kEps, out.data(), rstd.data(), rows, d,
                   nullptr);
    at::Tensor expected = unwritten({rows, d}), expected_rstd = unwritten({rows});
    reference::rms_norm(x, weight, kEps, expected, expected_rstd);
    EXPECT_LT(relative_error(out.get(), expected), test::bound<T>());
    EXPECT_LT(relative_error(rstd.get(), expected_rstd), 2e-6);
  });
}

TYPED_TEST(DeviceNorm, OfASumIsThatOfWhatIsStored) {
  using T = TypeParam;
  this->for_shapes([](int64_t rows, int64_t d, int64_t shift) {
    const at::Tensor x = rounded<T>(normal({rows, d}, 1, 3.0));
    const at::Tensor residual = rounded<T>(normal({rows, d}, 3));
    const at::Tensor weight = rounded<T>(normal({d}, 2));
    OnDevice<T> x_there(x, shift), residual_there(residual, shift), weight_there(weight, shift);
    OnDevice<T> out({rows, d}, shift);
    OnDevice<float> rstd({rows});
    // Over one of its terms.
    cuda::add_rms_norm(x_there.data(), residual_there.data(), weight_there.data(), kEps,
                       residual_there.data(), out.data(), rstd.data(), rows, d, nullptr);
    const at::Tensor sum = rounded<T>(x + residual);
    EXPECT_TRUE(test::same_bits(residual_there.get(), sum));
    at::Tensor expected = unwritten({rows, d}), expected_rstd = unwritten({rows});
    reference::rms_norm(sum, weight, kEps, expected, expected_rstd);
    EXPECT_LT(relative_error(out.get(), expected), test::bound<T>());
    EXPECT_LT(relative_error(rstd.get(), expected_rstd), 2e-6);
  });
}

TYPED_TEST(DeviceNorm, BackwardEqualsItsReferenceAndAddsToTheWeightsGradient) {
  using T = TypeParam;
  this->for_shapes([](int64_t rows, int64_t d, int64_t shift) {
    const at::Tensor x = rounded<T>(normal({rows, d}, 1, 3.0));
    const at::Tensor dout = rounded<T>(normal({rows, d}, 4));
    const at::Tensor weight = rounded<T>(normal({d}, 2));
    at::Tensor ignored = unwritten({rows, d}), rstd = unwritten({rows});
    reference::rms_norm(x, weight, kEps, ignored, rstd);
    for (const bool accumulate : {false, true}) {
      const at::Tensor before = rounded<T>(normal({rows, d}, 5));
      const at::Tensor dweight_before = normal({d}, 6);
      OnDevice<T> x_there(x, shift), dout_there(dout, shift), weight_there(weight, shift);
      OnDevice<T> dx(before, shift);
      OnDevice<float> dweight(dweight_before), rstd_there(rstd);
      OnDevice<float> workspace({cuda::rms_norm_workspace(d)});
      cuda::rms_norm_backward(dout_there.data(), x_there.data(), weight_there.data(),
                              rstd_there.data(), accumulate, dx.data(), dweight.data(),
                              workspace.data(), rows, d, nullptr);
      at::Tensor expected = before.clone(), expected_dweight = dweight_before.clone();
      reference::rms_norm_backward(dout, x, weight, rstd, accumulate, expected, expected_dweight);
      if (d > 1) {
        EXPECT_LT(relative_error(dx.get(), expected), test::bound<T>());
      }
      EXPECT_LT(relative_error(dweight.get(), expected_dweight), 5e-6);
    }
  });
}

}  // namespace
}  // namespace rondo::kernels
