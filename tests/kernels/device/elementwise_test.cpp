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

template <class T>
class DeviceElementwise : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceElementwise, test::DeviceTypes);

TYPED_TEST(DeviceElementwise, SwigluAndItsBackwardEqualTheirReference) {
  using T = TypeParam;
  for (const int64_t f : {1, 8, 13, 2048, 2056, 4100}) {
    for (const int64_t rows : {1, 5}) {
      for (const int64_t shift : {0, 1}) {
        SCOPED_TRACE(fmt::format("{} rows of {}, shifted by {}", rows, f, shift));
        const at::Tensor gate_up = rounded<T>(normal({rows, 2 * f}, 1, 2.0));
        const at::Tensor dout = rounded<T>(normal({rows, f}, 2));
        OnDevice<T> there(gate_up, shift), dout_there(dout, shift), out({rows, f}, shift);
        cuda::swiglu(there.data(), out.data(), rows, f, nullptr);
        at::Tensor expected = unwritten({rows, f});
        reference::swiglu(gate_up, expected);
        EXPECT_LT(relative_error(out.get(), expected), test::bound<T>());
        cuda::swiglu_backward(dout_there.data(), there.data(), rows, f, nullptr);
        at::Tensor gradient = gate_up.clone();
        reference::swiglu_backward(dout, gradient);
        EXPECT_LT(relative_error(there.get(), gradient), test::bound<T>());
      }
    }
  }
}

TYPED_TEST(DeviceElementwise, RopeTurnsTheFirstHeadsOfARowAndBack) {
  using T = TypeParam;
  constexpr int64_t kRows = 5, kPositions = 70;
  for (const int64_t width : {2, 6, 16, 64, 128}) {
    for (const int64_t heads : {1, 3}) {
      for (const int64_t shift : {0, 1}) {
        SCOPED_TRACE(fmt::format("{} heads of {}, shifted by {}", heads, width, shift));
        const int64_t stride = (heads + 1) * width;
        const at::Tensor x = rounded<T>(normal({kRows, stride}, 1));
        const at::Tensor angles = normal({kPositions, width / 2}, 2, 3.0);
        const at::Tensor positions = test::whole(kRows, kPositions, 3, at::kInt);
        OnDevice<T> there(x, shift);
        OnDevice<float> cos(at::cos(angles)), sin(at::sin(angles));
        OnDevice<int32_t> positions_there(positions);
        const auto turn = [&](bool inverse) {
          cuda::rope(there.data(), stride, heads, width, positions_there.data(), cos.data(),
                     sin.data(), inverse, kRows, nullptr);
        };
        turn(false);
        at::Tensor expected = x.clone();
        reference::rope(expected, stride, heads, width, positions, at::cos(angles), at::sin(angles),
                        false);
        EXPECT_LT(relative_error(there.get(), expected), test::bound<T>());
        EXPECT_TRUE(test::same_bits(there.get().narrow(1, heads * width, width).contiguous(),
                                    x.narrow(1, heads * width, width).contiguous()))
            << "the heads behind are left alone";
        turn(true);
        EXPECT_LT(relative_error(there.get(), x), 2 * test::bound<T>());
      }
    }
  }
}

TYPED_TEST(DeviceElementwise, EmbeddingAndItsBackwardEqualTheirReference) {
  using T = TypeParam;
  constexpr int64_t kIds = 7, kFirst = 3, kRows = 40;
  for (const int64_t d : {1, 8, 60, 2051}) {
    for (const int64_t shift : {0, 1}) {
      SCOPED_TRACE(fmt::format("rows of {}, shifted by {}", d, shift));
      const at::Tensor table = rounded<T>(normal({kIds, d}, 1));
      const at::Tensor dout = rounded<T>(normal({kRows, d}, 2));
      // Ids on both sides of the slice too.
      const at::Tensor tokens = test::whole(kRows, 14, 3, at::kInt);
      OnDevice<T> table_there(table, shift), out({kRows, d}, shift), dout_there(dout, shift);
      OnDevice<int32_t> tokens_there(tokens);
      cuda::embed(table_there.data(), tokens_there.data(), out.data(), kFirst, kIds, kRows, d,
                  nullptr);
      at::Tensor expected = unwritten({kRows, d});
      reference::embed(table, tokens, expected, kFirst);
      EXPECT_TRUE(test::same_bits(out.get(), expected));

      std::vector<int32_t> order, begins, ids;
      for (int32_t id = 0; id < kIds; ++id) {
        const size_t before = order.size();
        for (int32_t row = 0; row < kRows; ++row) {
          if (tokens[row].template item<int32_t>() == kFirst + id) order.push_back(row);
        }
        if (order.size() == before) continue;
        ids.push_back(id);
        begins.push_back(static_cast<int32_t>(before));
      }
      begins.push_back(static_cast<int32_t>(order.size()));
      OnDevice<int32_t> order_there(at::tensor(order)), begins_there(at::tensor(begins));
      OnDevice<int32_t> ids_there(at::tensor(ids));
      const at::Tensor before = normal({kIds, d}, 4);
      OnDevice<float> dtable(before);
      cuda::embed_backward(dout_there.data(), order_there.data(), begins_there.data(),
                           ids_there.data(), std::ssize(ids), dtable.data(), d, nullptr);
      at::Tensor gradient = before.clone();
      reference::embed_backward(dout, tokens, gradient, kFirst);
      EXPECT_LT(relative_error(dtable.get(), gradient), 2e-6);
    }
  }
}

}  // namespace
}  // namespace rondo::kernels
