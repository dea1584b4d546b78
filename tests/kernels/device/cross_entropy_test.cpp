#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/device/on_device.hpp"
#include "support/close.hpp"

namespace rondo::kernels {
namespace {

using test::normal;
using test::OnDevice;
using test::relative_error;
using test::rounded;

struct Losses {
  at::Tensor losses, correct, gradient;
};

// In float64 by torch; the factor of the gradient is 0.5.
Losses expected_of(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& weights) {
  const at::Tensor x = logits.to(at::kDouble);
  const at::Tensor column = labels.unsqueeze(1);
  Losses result;
  result.losses = (at::logsumexp(x, {1}) - x.gather(1, column).squeeze(1));
  // The first of several that are largest.
  const at::Tensor largest = (x == x.amax({1}, true)).to(at::kInt).argmax(1);
  result.correct = (largest == labels).to(at::kFloat);
  result.gradient = at::softmax(x, 1);
  result.gradient.scatter_add_(1, column, at::full_like(column, -1, at::kDouble));
  result.gradient *= 0.5 * weights.to(at::kDouble).unsqueeze(1);
  return result;
}

// By the kernels, the ids being divided into slices of `sizes`.
template <class T>
Losses losses_of(const at::Tensor& logits, const at::Tensor& labels, const at::Tensor& weights,
                 const std::vector<int64_t>& sizes, int64_t shift) {
  const int64_t rows = logits.size(0);
  struct Slice {
    int64_t first, v;
    OnDevice<T> logits;
    OnDevice<float> largest, beaten;
    OnDevice<double> sum, of_label;
    cuda::SliceRows rows() { return {largest.data(), sum.data(), of_label.data(), beaten.data()}; }
  };
  OnDevice<int64_t> labels_there(labels);
  std::vector<Slice> slices;
  at::Tensor most = at::full({rows}, -INFINITY);
  int64_t first = 0;
  for (const int64_t v : sizes) {
    slices.push_back({first, v, OnDevice<T>(logits.narrow(1, first, v), shift),
                      OnDevice<float>({rows}), OnDevice<float>({rows}), OnDevice<double>({rows}),
                      OnDevice<double>({rows})});
    Slice& slice = slices.back();
    cuda::look_at_logits(slice.logits.data(), labels_there.data(), first, rows, v, slice.rows(),
                         nullptr);
    most = at::maximum(most, slice.largest.get());
    first += v;
  }
  OnDevice<float> most_there(most);
  at::Tensor sums = at::zeros({3, rows}, at::kDouble);
  for (Slice& slice : slices) {
    OnDevice<double> scaled({3, rows});
    cuda::scale_slice(slice.rows(), most_there.data(), rows, scaled.data(), nullptr);
    sums += scaled.get();
  }
  OnDevice<double> sums_there(sums);
  OnDevice<float> losses({rows}), correct({rows}), weights_there(weights);
  cuda::finish_losses(most_there.data(), sums_there.data(), rows, losses.data(), correct.data(),
                      nullptr);
  std::vector<at::Tensor> gradients;
  for (Slice& slice : slices) {
    cuda::cross_entropy_gradient(slice.logits.data(), labels_there.data(), slice.first, rows,
                                 slice.v, most_there.data(), sums_there.data(),
                                 weights_there.data(), 0.5, nullptr);
    gradients.push_back(slice.logits.get());
  }
  return {losses.get(), correct.get(), at::cat(gradients, 1)};
}

template <class T>
class DeviceCrossEntropy : public ::testing::Test {};
TYPED_TEST_SUITE(DeviceCrossEntropy, test::DeviceTypes);

TYPED_TEST(DeviceCrossEntropy, OfAWholeVocabularyAndOfSlicesIsThatOfTorch) {
  using T = TypeParam;
  constexpr int64_t kRows = 4;
  for (const int64_t v : {2, 9, 4096, 5003}) {
    // bf16 logits tie often.
    const at::Tensor logits = rounded<T>(normal({kRows, v}, 1, 4.0));
    at::Tensor labels = test::whole(kRows, v, 2, at::kLong);
    labels[0] = logits[0].argmax();
    labels[1] = logits[1].argmax();
    const at::Tensor weights = normal({kRows}, 3).abs();
    const Losses expected = expected_of(logits, labels, weights);
    for (const auto& sizes : {std::vector<int64_t>{v}, {1, v - 1}, {v / 2, v - v / 2}}) {
      for (const int64_t shift : {0, 1}) {
        SCOPED_TRACE(fmt::format("{} ids, first slice {}, shifted by {}", v, sizes[0], shift));
        const Losses found = losses_of<T>(logits, labels, weights, sizes, shift);
        EXPECT_LT(relative_error(found.losses, expected.losses), 2e-6);
        EXPECT_TRUE(test::same_bits(found.correct, expected.correct));
        EXPECT_LT(relative_error(found.gradient, expected.gradient), test::bound<T>());
      }
    }
  }
}

TYPED_TEST(DeviceCrossEntropy, OfTwoLargestLogitsTheLowerIdWins) {
  using T = TypeParam;
  at::Tensor logits = at::zeros({3, 40});
  for (const int64_t id : {5, 20}) logits.select(1, id).fill_(2.0F);
  const at::Tensor labels = at::tensor({int64_t{5}, int64_t{20}, int64_t{21}});
  for (const auto& sizes : {std::vector<int64_t>{40}, {10, 30}, {6, 14, 20}}) {
    const Losses found = losses_of<T>(logits, labels, at::ones({3}), sizes, 0);
    EXPECT_TRUE(at::equal(found.correct, at::tensor({1.0F, 0.0F, 0.0F})));
  }
}

TYPED_TEST(DeviceCrossEntropy, WhatIsNotFiniteShowsInTheLoss) {
  using T = TypeParam;
  for (const float bad : {INFINITY, NAN}) {
    at::Tensor logits = normal({1, 600}, 1);
    logits[0][17] = bad;
    const at::Tensor labels = at::tensor({int64_t{3}});
    const Losses found = losses_of<T>(logits, labels, at::ones({1}), {600}, 0);
    EXPECT_FALSE(std::isfinite(found.losses[0].template item<float>()));
  }
}

}  // namespace
}  // namespace rondo::kernels
