// What plan/ says of memory and communication is what a step really holds and sends.
#include <gtest/gtest.h>

#include "plan/memory.hpp"
#include "plan/traffic.hpp"
#include "train/layout_laws.hpp"
#include "train/plan_of.hpp"

namespace rondo::train {
namespace {

using comm::Purpose;

plan::Volume volume_of(const comm::Group& group, Purpose purpose) {
  const comm::Traffic& traffic = group.traffic(purpose);
  return {traffic.calls, traffic.bytes};
}

plan::Volume operator-(plan::Volume a, plan::Volume b) {
  return {a.calls - b.calls, a.bytes - b.bytes};
}

struct Seen {
  plan::Volume shard_gradients, shard_weights, replicate_gradients, tensor_activations,
      tensor_gradients;
};

Seen seen(parallel::Mesh& mesh) {
  return {volume_of(mesh.shard(), Purpose::kGradients), volume_of(mesh.shard(), Purpose::kWeights),
          volume_of(mesh.replicate(), Purpose::kGradients),
          volume_of(mesh.tensor(), Purpose::kActivations),
          volume_of(mesh.tensor(), Purpose::kGradients)};
}

void check_plan(const LayoutCase& c, comm::Group& world, comm::Control& control) {
  SCOPED_TRACE(name_of(c));
  parallel::Mesh mesh(world, c.mesh);
  const auto model = model_of(c, mesh);
  Layout layout;
  layout.mesh = c.mesh;
  layout.zero = c.zero;
  layout.lanes = c.lanes;
  layout.bf16_exchange = c.bf16_exchange;
  layout.recompute = c.recompute;
  layout.compute = c.compute;
  layout.moments = c.moments;
  const plan::Dimensions dimensions = dimensions_of(model->shape());
  const plan::Layout plan = plan_layout(layout, model->shape());
  EXPECT_EQ(plan::parameters(dimensions), model->shape().parameters());

  const auto packs = many_packs(3);
  const auto batches = share_of(packs, mesh.data(), 3);
  const auto memory = plan::memory_per_rank(
      dimensions, plan, {.rows = 3 * kSeqLen, .micro_batches = std::ssize(batches)});
  int64_t persistent = 0;
  for (size_t u = 0; u < model->unit_count(); ++u) persistent += model->unit(u).persistent_bytes();
  EXPECT_EQ(persistent, memory.persistent());

  Stepper stepper(*model, control);
  stepper.run(batches, settings_of(1));
  model->gather_weights();
  stepper.run(batches, settings_of(2));
  model->gather_weights();
  const int64_t buffers = model->pool_bytes();
  EXPECT_EQ(model->workspace_bytes(), memory.activations);
  EXPECT_NEAR(static_cast<double>(buffers),
              static_cast<double>(memory.gathered + memory.communication),
              0.1 * static_cast<double>(memory.peak() - memory.logits));

  const Seen before = seen(mesh);
  stepper.run(batches, settings_of(3));
  model->gather_weights();
  const Seen after = seen(mesh);
  EXPECT_EQ(model->pool_bytes(), buffers) << "a later step allocates nothing";
  std::vector<int64_t> weighted;
  for (const auto& batch : batches) weighted.push_back(batch.rows.numel());
  const plan::StepTraffic expected = plan::step_traffic(dimensions, plan, 3 * kSeqLen, weighted);
  EXPECT_EQ(after.shard_gradients - before.shard_gradients, expected.shard_gradients);
  EXPECT_EQ(after.replicate_gradients - before.replicate_gradients, expected.replicate_gradients);
  EXPECT_EQ(after.tensor_activations - before.tensor_activations,
            c.mesh.tensor > 1 ? expected.tensor_activations
                              : after.tensor_activations - before.tensor_activations);
  EXPECT_EQ(after.shard_weights - before.shard_weights, expected.shard_weights);
  // Copies: over the shard axis they are what the formula says; key/value heads have groups of
  // their own.
  if (c.kv_heads % c.mesh.tensor != 0) return;
  at::Tensor sum =
      at::full({1}, (after.tensor_gradients - before.tensor_gradients).bytes, at::kLong);
  mesh.shard().all_sum(sum, Purpose::kOther).wait();
  EXPECT_EQ(sum.item<int64_t>(), expected.tensor_gradient_bytes);
}

class PlanOnRanks : public testing::TestWithParam<int> {};

TEST_P(PlanOnRanks, IsWhatAStepHoldsAndSends) {
  on_ranks(GetParam(), [](comm::Group& world, comm::Control& control) {
    using What = model::Recompute::What;
    for (const auto& mesh : meshes_up_to(world.size())) {
      if (mesh.ranks() != world.size()) continue;
      for (int zero = 0; zero <= 3; ++zero) {
        if (zero == 0 && mesh.shard > 1) continue;
        auto cases = variants(mesh, zero);
        cases[0].recompute = {static_cast<What>(zero), 0.67};
        LayoutCase lanes = cases[1];
        lanes.lanes = kLanes;
        const bool divides = kLanes % mesh.data() == 0;
        if (divides) cases.push_back(lanes);
        cases.push_back(cases[0]);
        cases.back().bf16_exchange = true;
        cases.push_back(cases[0]);
        cases.back().compute = at::kBFloat16;
        cases.back().moments = zero % 2 == 0 ? at::kFloat : at::kBFloat16;
        for (const auto& c : cases) check_plan(c, world, control);
      }
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Ranks, PlanOnRanks, testing::Values(1, 2, 4, 8));

}  // namespace
}  // namespace rondo::train
