// What a training step owes on any number of ranks (the numerics contract), as functions that are
// collective over the ranks given. Threads call them in step_test.cpp, processes of mpirun in
// step_mpitest.cpp.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/console.hpp"
#include "checkpoint/checkpoint.hpp"
#include "support/close.hpp"
#include "train/model_source.hpp"
#include "train/training.hpp"

namespace rondo::train {

inline constexpr size_t kMicroPacks[] = {1, 3};

// sum of weight * ce / sum of weight in float64, from logits of one document at a time.
inline double plain_loss(model::Model& model, const std::vector<Pack>& packs) {
  double sum = 0;
  double weight = 0;
  for (const Pack& pack : packs) {
    for (const Document& document : pack) {
      const auto batch = batch_of({{document}}, 0, 1);
      if (batch.trainable_tokens == 0) continue;
      const at::Tensor logits = model.logits(batch.tokens, batch.layout, batch.rows);
      const at::Tensor log_probability = at::log_softmax(logits.to(at::kDouble), 1);
      const at::Tensor chosen = log_probability.gather(1, batch.labels.unsqueeze(1)).squeeze(1);
      sum -= (chosen * batch.weights.to(at::kDouble)).sum().item<double>();
      weight += batch.weights.to(at::kDouble).sum().item<double>();
    }
  }
  return sum / weight;
}

inline double weights_error(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    worst = std::max(worst, test::relative_error(a[i], b[i]));
  }
  return worst;
}

// Contract 1 and 4: three steps on these ranks, in micro-batches, are those of one rank with the
// whole batch, and the loss is the formula's.
inline void check_ranks_do_not_matter(comm::Group& group, comm::Control& control) {
  Alone alone;
  for (const size_t micro_packs : kMicroPacks) {
    const auto reference = new_model(*alone.group, 5);
    const auto model = new_model(group, 5);
    Stepper one(*reference, alone.control);
    Stepper all(*model, control);
    for (int64_t step = 1; step <= 3; ++step) {
      const auto packs = ragged_packs(static_cast<uint64_t>(step));
      const double formula = plain_loss(*reference, packs);
      const auto expected = one.run({batch_of(packs, 0, packs.size())}, settings_of(step));
      const auto got = all.run(share_of(packs, group, micro_packs), settings_of(step));
      EXPECT_TRUE(got.updated);
      EXPECT_NEAR(expected.totals.loss(), formula, 1e-6 * formula);
      EXPECT_NEAR(got.totals.loss(), formula, 1e-6 * formula);
      EXPECT_EQ(got.totals.weight, expected.totals.weight);
      EXPECT_EQ(got.totals.real_tokens, expected.totals.real_tokens);
      EXPECT_EQ(got.totals.trainable_tokens, expected.totals.trainable_tokens);
      EXPECT_EQ(got.totals.attention_pairs, expected.totals.attention_pairs);
      EXPECT_EQ(got.totals.flops, expected.totals.flops);
      EXPECT_NEAR(got.grad_norm, expected.grad_norm, 1e-5 * expected.grad_norm);
      EXPECT_LT(weights_error(weights_of(*model), weights_of(*reference)), 1e-5);
    }
  }
}

// Contract 1: no trainable token anywhere is no gradient, no NaN, and no rank left waiting.
inline void check_zero_weight(comm::Group& group, comm::Control& control) {
  const auto model = new_model(group, 5);
  Stepper stepper(*model, control);
  const auto before = weights_of(*model);
  StepSettings settings = settings_of(1);
  settings.adamw.weight_decay = 0;
  std::vector<Pack> masked(12, ragged_packs(1)[0]);
  for (const auto& packs : {masked, std::vector<Pack>(12)}) {
    const auto result = stepper.run(share_of(packs, group, 1), settings);
    EXPECT_TRUE(result.updated);
    EXPECT_EQ(result.totals.loss(), 0);
    EXPECT_EQ(result.totals.weight, 0);
    EXPECT_EQ(result.grad_norm, 0);
    EXPECT_TRUE(same_bits(weights_of(*model), before));
    EXPECT_EQ(stepper.evaluate(share_of(packs, group, 3)).loss(), 0);
  }
}

// Contract 2.
inline void check_initial_weights(comm::Group& group, comm::Control& /*control*/) {
  const Alone alone;
  EXPECT_TRUE(
      same_bits(weights_of(*new_model(group, 11)), weights_of(*new_model(*alone.group, 11))));
  EXPECT_FALSE(
      same_bits(weights_of(*new_model(group, 11)), weights_of(*new_model(*alone.group, 12))));
}

// Contract 4: packed = one document a pack, loss and every weight after the step.
inline void check_packing_does_not_matter(comm::Group& group, comm::Control& control) {
  const auto packs = ragged_packs(4);
  std::vector<Pack> separate;
  for (const Pack& pack : packs) {
    for (const Document& document : pack) separate.push_back({document});
  }
  separate.resize(24);
  const auto packed = new_model(group, 5);
  const auto unpacked = new_model(group, 5);
  Stepper packed_stepper(*packed, control);
  Stepper unpacked_stepper(*unpacked, control);
  const auto a = packed_stepper.run(share_of(packs, group, 1), settings_of(1));
  const auto b = unpacked_stepper.run(share_of(separate, group, 2), settings_of(1));
  EXPECT_NEAR(a.totals.loss(), b.totals.loss(), 1e-6 * b.totals.loss());
  EXPECT_NEAR(a.grad_norm, b.grad_norm, 1e-5 * b.grad_norm);
  EXPECT_LT(weights_error(weights_of(*packed), weights_of(*unpacked)), 1e-5);
  for (size_t u = 0; u < packed->unit_count(); ++u) {
    // Before clipping and update; on one rank alone they are whole.
    if (group.size() > 1) continue;
    for (size_t i = 0; i < packed->unit(u).parameters().size(); ++i) {
      EXPECT_LT(test::relative_error(packed->unit(u).grad(i), unpacked->unit(u).grad(i)), 1e-5)
          << packed->unit(u).parameters()[i].name;
    }
  }
}

// Every rank holds the same weights after a step, to the bit.
inline void check_replicas_agree(comm::Group& group, comm::Control& control) {
  const auto model = new_model(group, 5);
  Stepper stepper(*model, control);
  for (int64_t step = 1; step <= 2; ++step) {
    stepper.run(share_of(ragged_packs(7), group, 3), settings_of(step));
  }
  for (const at::Tensor& weight : weights_of(*model)) {
    at::Tensor first = weight.clone();
    group.broadcast(first, 0, comm::Purpose::kOther).wait();
    EXPECT_TRUE(at::equal(first, weight));
  }
}

inline checkpoint::SaveResult save_model(model::Model& model, const std::string& folder,
                                         const std::string& name, comm::Control& control) {
  checkpoint::SaveRequest request;
  request.folder = folder;
  request.name = name;
  request.tensors = logical_tensors(model, true);
  request.pieces = ModelOnHost(model, true).pieces();
  request.state = nlohmann::json::object();
  return checkpoint::save(request, control);
}

// Contract 5 on one layout: two steps, a checkpoint, a new model, two more steps are the four
// uninterrupted ones.
inline void check_resume(comm::Group& group, comm::Control& control, const std::string& folder) {
  const auto straight = new_model(group, 5);
  Stepper straight_stepper(*straight, control);
  std::vector<double> losses;
  std::vector<double> norms;
  for (int64_t step = 1; step <= 4; ++step) {
    const auto packs = ragged_packs(static_cast<uint64_t>(step));
    const auto result = straight_stepper.run(share_of(packs, group, 3), settings_of(step));
    losses.push_back(result.totals.loss());
    norms.push_back(result.grad_norm);
    if (step == 2) save_model(*straight, folder, "middle", control);
  }
  const auto resumed = new_model(group, 99);
  restore(checkpoint::Checkpoint::open(folder + "/middle", control, checkpoint::Verify::kFull),
          *resumed, true);
  Stepper resumed_stepper(*resumed, control);
  for (int64_t step = 3; step <= 4; ++step) {
    const auto packs = ragged_packs(static_cast<uint64_t>(step));
    const auto result = resumed_stepper.run(share_of(packs, group, 3), settings_of(step));
    EXPECT_EQ(result.totals.loss(), losses[static_cast<size_t>(step - 1)]);
    EXPECT_EQ(result.grad_norm, norms[static_cast<size_t>(step - 1)]);
  }
  EXPECT_TRUE(same_bits(weights_of(*resumed), weights_of(*straight)));
  // The digest covers weights and moments.
  EXPECT_EQ(save_model(*resumed, folder, "resumed", control).digest,
            save_model(*straight, folder, "straight", control).digest);
}

// Data that one rank cannot read: every rank throws it, no rank applies anything, and the next step
// is as if nothing had been.
inline void check_failing_read(comm::Group& group, comm::Control& control) {
  const auto model = new_model(group, 5);
  const auto untouched = new_model(group, 5);
  Stepper stepper(*model, control);
  Stepper other(*untouched, control);
  const auto packs = ragged_packs(1);
  const auto batches = share_of(packs, group, 3);
  const int guilty = group.size() - 1;
  for (const int64_t damaged : {int64_t{0}, std::ssize(batches) - 1}) {
    const StepData data{.weight = 1,
                        .micro_batches = std::ssize(batches),
                        .next =
                            [&](int64_t m) {
                              if (group.rank() == guilty && m == damaged) {
                                base::fail_user("pack 7 is damaged");
                              }
                              return batches[static_cast<size_t>(m)];
                            },
                        .packs = batches[0].packs,
                        .seq_len = batches[0].seq_len};
    try {
      stepper.run(data, settings_of(1));
      ADD_FAILURE() << "nothing was thrown on rank " << group.rank();
    } catch (const base::UserError& error) {
      EXPECT_NE(std::string(error.what()).find("pack 7 is damaged"), std::string::npos);
    }
    EXPECT_TRUE(same_bits(weights_of(*model), weights_of(*untouched)));
  }
  stepper.run(batches, settings_of(1));
  other.run(batches, settings_of(1));
  EXPECT_TRUE(same_bits(weights_of(*model), weights_of(*untouched)));
}

// Contract 8: what one rank breaks, no rank applies, and all ranks name it.
inline void check_not_finite(comm::Group& group, comm::Control& control) {
  const auto model = new_model(group, 5);
  const auto control_model = new_model(group, 5);
  Stepper stepper(*model, control);
  Stepper control_stepper(*control_model, control);
  const auto packs = std::vector<Pack>(12, ragged_packs(1)[5]);
  stepper.run(share_of(packs, group, 1), settings_of(1));
  control_stepper.run(share_of(packs, group, 1), settings_of(1));
  const int guilty = group.size() - 1;

  for (const double bad : {std::nan(""), HUGE_VAL}) {
    // A weight of one rank's copy.
    model->gather_weights();
    at::Tensor weight = model->unit(1).weight(0).view({-1});
    const float good = weight[3].item<float>();
    if (group.rank() == guilty) weight[3] = bad;
    auto before = weights_of(*model);
    const at::Tensor moments = model->unit(1).exp_avg().clone();
    const auto result = stepper.run(share_of(packs, group, 1), settings_of(2));
    EXPECT_FALSE(result.updated);
    EXPECT_NE(result.not_finite.find("rank " + std::to_string(guilty) + ": the loss"),
              std::string::npos)
        << result.not_finite;
    EXPECT_TRUE(same_bits(weights_of(*model), before));
    EXPECT_TRUE(at::equal(model->unit(1).exp_avg(), moments));
    weight[3] = good;

    // A weight of one rank's batch.
    auto batches = share_of(packs, group, 1);
    before = weights_of(*model);
    if (group.rank() == guilty) batches.back().weights[0] = bad;
    EXPECT_FALSE(stepper.run(batches, settings_of(2)).updated);
    EXPECT_TRUE(same_bits(weights_of(*model), before));
  }
  // Nothing is left of it.
  const auto after = stepper.run(share_of(packs, group, 1), settings_of(2));
  const auto expected = control_stepper.run(share_of(packs, group, 1), settings_of(2));
  EXPECT_TRUE(after.updated);
  EXPECT_EQ(after.totals.loss(), expected.totals.loss());
  EXPECT_TRUE(same_bits(weights_of(*model), weights_of(*control_model)));
}

}  // namespace rondo::train
