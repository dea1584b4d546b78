// Training steps in which every kernel is the one for GPUs against the same steps by the kernels
// for CPUs. Built twice: its threads emulated on the host (RONDO_EMULATED), and for a GPU.
#include <gtest/gtest.h>

#ifdef RONDO_EMULATED
#include "kernels/device/step/emulated_device.hpp"
#endif
#include "train/layout_laws.hpp"

namespace rondo::train {
namespace {

struct Outcome {
  std::vector<double> losses, norms, correct;
  std::vector<at::Tensor> gradients, weights;
  kernels::RowLosses each;
};

// Two steps of two micro-batches, of which the gradients are the first one's, an evaluation, and
// one of single rows.
Outcome steps(LayoutCase c, bool on_device) {
#ifdef RONDO_EMULATED
  test::use_emulated_device(on_device);
#else
  if (on_device) c.device = at::kCUDA;
#endif
  Alone alone;
  parallel::Mesh mesh(*alone.group);
  const auto model = model_of(c, mesh);
  Stepper stepper(*model, alone.control);
  Outcome outcome;
  const auto note = [&](const Totals& totals) {
    outcome.losses.push_back(totals.loss());
    outcome.correct.push_back(totals.correct);
  };
  for (int64_t step = 1; step <= 2; ++step) {
    const auto packs = ragged_packs(static_cast<uint64_t>(step));
    const std::vector batches = {batch_of(packs, 2, 4), batch_of(packs, 10, 12)};
    const StepResult result = stepper.run(batches, settings_of(step));
    EXPECT_TRUE(result.updated);
    note(result.totals);
    outcome.norms.push_back(result.grad_norm);
    if (step == 1) outcome.gradients = gradients_of(*model);
    if (step == 1) continue;
    note(stepper.evaluate(batches));
    const data::PackedBatch& batch = batches[0];
    model->forward({batch.tokens, batch.rows, batch.labels, batch.weights, batch.layout},
                   &outcome.each);
  }
  for (const at::Tensor& weight : weights_of(*model)) outcome.weights.push_back(weight.cpu());
#ifdef RONDO_EMULATED
  test::use_emulated_device(false);
#endif
  return outcome;
}

void compare(const LayoutCase& c, double loss, double gradient, double weight) {
  SCOPED_TRACE(name_of(c));
  const Outcome wanted = steps(c, false);
  const Outcome found = steps(c, true);
  for (size_t i = 0; i < wanted.losses.size(); ++i) {
    EXPECT_NEAR(found.losses[i], wanted.losses[i], loss * wanted.losses[i]) << i;
    EXPECT_NEAR(found.correct[i], wanted.correct[i], c.compute == at::kFloat ? 0 : 2) << i;
  }
  EXPECT_GT(wanted.each.losses_n.numel(), 0);
  EXPECT_LT(test::relative_error(found.each.losses_n, wanted.each.losses_n), 10 * loss);
  EXPECT_NEAR(found.each.correct_n.sum().item<double>(), wanted.each.correct_n.sum().item<double>(),
              c.compute == at::kFloat ? 0 : 2);
  EXPECT_NEAR(found.norms[0], wanted.norms[0], gradient * wanted.norms[0]);
  ASSERT_EQ(found.gradients.size(), wanted.gradients.size());
  for (size_t i = 0; i < wanted.gradients.size(); ++i) {
    EXPECT_LT(test::relative_error(found.gradients[i], wanted.gradients[i]), gradient) << i;
    EXPECT_LT(test::relative_error(found.weights[i], wanted.weights[i]), weight) << i;
  }
  // The kernels are others: their sums have another order.
  EXPECT_FALSE(at::equal(found.gradients[1], wanted.gradients[1]));
}

const LayoutCase kPlain = {.mesh = {}, .kv_heads = 4, .qkv_bias = true};
const LayoutCase kTied = {.mesh = {},
                          .zero = 3,
                          .tied = true,
                          .kv_heads = 12,
                          .qk_norm = true,
                          .recompute = {model::Recompute::What::kBlock, 0.67}};

TEST(DeviceStep, InFp32IsThatOfTheCpu) {
  for (const LayoutCase& c : {kPlain, kTied}) compare(c, 1e-5, 1e-5, 1e-4);
}

TEST(DeviceStep, InBf16IsThatOfTheCpu) {
  LayoutCase c = kTied;
  c.compute = at::kBFloat16;
  compare(c, 1e-3, 2e-2, 1e-2);
}

// Heads that are a multiple of 8 wide: flash attention, where there is a GPU.
TEST(DeviceStep, WithWideHeadsInBf16IsThatOfTheCpu) {
  LayoutCase c = kPlain;
  c.compute = at::kBFloat16;
  c.head_width = 16;
  compare(c, 1e-3, 2e-2, 1e-2);
}

TEST(DeviceStep, RepeatsToTheBit) {
  LayoutCase c = kPlain;
  c.compute = at::kBFloat16;
  const Outcome one = steps(c, true);
  const Outcome two = steps(c, true);
  EXPECT_EQ(one.losses, two.losses);
  for (size_t i = 0; i < one.weights.size(); ++i) {
    EXPECT_TRUE(at::equal(one.weights[i], two.weights[i])) << i;
  }
}

}  // namespace
}  // namespace rondo::train
