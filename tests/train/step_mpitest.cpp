// The laws of the training step on the ranks of mpirun.
#include <gtest/gtest.h>

#include <optional>

#include "support/temp_folder.hpp"
#include "support/world.hpp"
#include "train/step_laws.hpp"

namespace rondo::train {
namespace {

class StepByMpi : public testing::Test {
 protected:
  const c10::InferenceMode guard_;
  std::unique_ptr<comm::Group> group_ = test::runtime().make_group();
  comm::Control control_ = test::runtime().make_control();
};

TEST_F(StepByMpi, RanksAndMicroBatchesDoNotMatter) { check_ranks_do_not_matter(*group_, control_); }
TEST_F(StepByMpi, ABatchOfZeroWeightChangesNothing) { check_zero_weight(*group_, control_); }
TEST_F(StepByMpi, InitialWeightsAreTheSame) { check_initial_weights(*group_, control_); }
TEST_F(StepByMpi, PackingDoesNotMatter) { check_packing_does_not_matter(*group_, control_); }
TEST_F(StepByMpi, EveryRankHoldsTheSameWeights) { check_replicas_agree(*group_, control_); }
TEST_F(StepByMpi, WhatOneRankCannotReadIsThrownByAll) { check_failing_read(*group_, control_); }
TEST_F(StepByMpi, WhatIsNotFiniteIsNotApplied) { check_not_finite(*group_, control_); }
TEST_F(StepByMpi, AResumedRunIsTheUninterruptedOne) {
  std::optional<test::TempFolder> folder;
  if (control_.is_first()) folder.emplace();
  check_resume(*group_, control_, control_.broadcast_text(folder ? folder->path() : ""));
  control_.barrier();
}

}  // namespace
}  // namespace rondo::train
