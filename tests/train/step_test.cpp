#include "train/step.hpp"

#include <gtest/gtest.h>

#include <mutex>

#include "support/temp_folder.hpp"
#include "train/step_laws.hpp"

namespace rondo::train {
namespace {

class StepOnRanks : public testing::TestWithParam<int> {};

TEST_P(StepOnRanks, RanksAndMicroBatchesDoNotMatter) {
  on_ranks(GetParam(), check_ranks_do_not_matter);
}
TEST_P(StepOnRanks, ABatchOfZeroWeightChangesNothing) { on_ranks(GetParam(), check_zero_weight); }
TEST_P(StepOnRanks, InitialWeightsAreTheSame) { on_ranks(GetParam(), check_initial_weights); }
TEST_P(StepOnRanks, PackingDoesNotMatter) { on_ranks(GetParam(), check_packing_does_not_matter); }
TEST_P(StepOnRanks, EveryRankHoldsTheSameWeights) { on_ranks(GetParam(), check_replicas_agree); }
TEST_P(StepOnRanks, WhatOneRankCannotReadIsThrownByAll) {
  on_ranks(GetParam(), check_failing_read);
}
TEST_P(StepOnRanks, WhatIsNotFiniteIsNotApplied) { on_ranks(GetParam(), check_not_finite); }
TEST_P(StepOnRanks, AResumedRunIsTheUninterruptedOne) {
  const test::TempFolder folder;
  on_ranks(GetParam(), [&](comm::Group& group, comm::Control& control) {
    check_resume(group, control, folder.path());
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, StepOnRanks, testing::Values(1, 2, 3, 4));

TEST(Resharding, WeightsAndMomentsSavedByTwoRanksAreTheSameOnAnyNumber) {
  const test::TempFolder folder;
  std::string digest;
  std::vector<at::Tensor> weights;
  on_ranks(2, [&](comm::Group& group, comm::Control& control) {
    const auto model = new_model(group, 5);
    Stepper stepper(*model, control);
    stepper.run(share_of(ragged_packs(1), group, 3), settings_of(1));
    const auto saved = save_model(*model, folder.path(), "two", control);
    const auto whole = weights_of(*model);
    if (group.rank() == 0) {
      digest = saved.digest;
      weights = whole;
    }
  });
  for (const int size : {1, 3, 4}) {
    on_ranks(size, [&](comm::Group& group, comm::Control& control) {
      const auto model = new_model(group, 99);
      restore(checkpoint::Checkpoint::open(folder / "two", control, checkpoint::Verify::kFull),
              *model, true);
      EXPECT_TRUE(same_bits(weights_of(*model), weights));
      const auto again =
          save_model(*model, folder.path(), "again-" + std::to_string(size), control);
      EXPECT_EQ(again.digest, digest);
    });
    Alone alone;
    const auto two =
        checkpoint::Checkpoint::open(folder / "two", alone.control, checkpoint::Verify::kFull);
    const auto other = checkpoint::Checkpoint::open(folder / ("again-" + std::to_string(size)),
                                                    alone.control, checkpoint::Verify::kFull);
    ASSERT_EQ(two.tensors().size(), other.tensors().size());
    for (const auto& tensor : two.tensors()) {
      EXPECT_EQ(two.read_all(tensor.name), other.read_all(tensor.name)) << tensor.name;
    }
  }
}

// Fresh documents at every step, with an unequal share of the tokens to be learnt.
TEST(Step, TwoHundredStepsInBf16AreWithinAHundredthOfFp32) {
  Alone alone;
  parallel::Mesh mesh(*alone.group);
  const auto losses = [&](at::ScalarType compute, at::ScalarType moments) {
    model::Model model(
        tiny_shape(), mesh,
        {.state = {.training = true, .compute = compute, .moments = moments}, .recompute = {}});
    model.initialise(5);
    Stepper stepper(model, alone.control);
    std::vector<double> all;
    for (int64_t step = 1; step <= 200; ++step) {
      auto packs = ragged_packs(static_cast<uint64_t>(step));
      for (Pack& pack : packs) {
        for (Document& document : pack) {
          for (int32_t& token : document.tokens) token = token * token / 53;
        }
      }
      StepSettings settings = settings_of(step);
      settings.adamw.lr = 2e-3;
      all.push_back(stepper.run({batch_of(packs, 0, packs.size())}, settings).totals.loss());
    }
    return all;
  };
  const auto exact = losses(at::kFloat, at::kFloat);
  EXPECT_LT(exact.back(), 0.95 * exact.front()) << "nothing was learnt";
  for (const auto& [compute, moments] : {std::pair{at::kBFloat16, at::kFloat},
                                         {at::kFloat, at::kBFloat16},
                                         {at::kBFloat16, at::kBFloat16}}) {
    const auto rounded = losses(compute, moments);
    double furthest = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      furthest = std::max(furthest, std::abs(rounded[i] / exact[i] - 1));
    }
    EXPECT_LT(furthest, 0.01);
    EXPECT_GT(furthest, 0) << "bf16 computes in fp32";
  }
}

TEST(Step, ClippingScalesTheUpdateAndReportsTheNormBefore) {
  Alone alone;
  const auto packs = ragged_packs(2);
  // One update of plain AdamW without momentum in the way: eps far above the gradient makes it
  // proportional to the gradient, and so to the clip.
  const auto change = [&](double clip, double& norm) {
    const auto model = new_model(*alone.group, 5);
    Stepper stepper(*model, alone.control);
    const at::Tensor before = model->unit(1).weight(1).clone();
    StepSettings settings = settings_of(1);
    settings.adamw = {.lr = 1e4, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e4, .weight_decay = 0};
    settings.clip = clip;
    norm = stepper.run({batch_of(packs, 0, packs.size())}, settings).grad_norm;
    return at::Tensor(model->unit(1).weight(1) - before);
  };
  double norm = 0;
  double clipped_norm = 0;
  const at::Tensor whole = change(0, norm);
  const at::Tensor clipped = change(norm / 4, clipped_norm);
  EXPECT_EQ(norm, clipped_norm);
  EXPECT_GT(norm, 0);
  EXPECT_LT(test::relative_error(clipped * 4, whole), 1e-3);
  const at::Tensor above = change(norm * 1.01, clipped_norm);
  EXPECT_TRUE(at::equal(above, whole));
}

}  // namespace
}  // namespace rondo::train
