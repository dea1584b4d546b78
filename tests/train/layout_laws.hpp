// What a training step owes on any layout of the ranks: the loss, every gradient and every weight
// of one rank. Functions that are collective over the ranks given; threads call them in
// layout_test.cpp, processes of mpirun in layout_mpitest.cpp.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "checkpoint/checkpoint.hpp"
#include "support/close.hpp"
#include "train/model_source.hpp"
#include "train/training.hpp"

namespace rondo::train {

struct LayoutCase {
  parallel::MeshSize mesh;
  int zero = 1;
  bool tied = false;
  int64_t kv_heads = 12;
  bool qkv_bias = false;
  bool qk_norm = false;
  model::Recompute recompute = {};
  int64_t lanes = 0;
  bool bf16_exchange = false;
  at::ScalarType compute = at::kFloat;
  at::ScalarType moments = at::kFloat;
  at::Device device = at::kCPU;
  int64_t head_width = 4;
};

inline std::string name_of(const LayoutCase& c) {
  return fmt::format("replicate {} shard {} tensor {} zero {}{} kv_heads {}{}{}{}",
                     c.mesh.replicate, c.mesh.shard, c.mesh.tensor, c.zero, c.tied ? " tied" : "",
                     c.kv_heads, c.qkv_bias ? " bias" : "", c.qk_norm ? " qk_norm" : "",
                     c.compute == at::kFloat ? "" : " bf16");
}

// Every mesh of at most `most` ranks with sizes from 1 to 4.
inline std::vector<parallel::MeshSize> meshes_up_to(int most) {
  std::vector<parallel::MeshSize> all;
  for (int replicate = 1; replicate <= 4; ++replicate) {
    for (int shard = 1; shard <= 4; ++shard) {
      for (int tensor = 1; tensor <= 4; ++tensor) {
        const parallel::MeshSize size{replicate, shard, tensor};
        if (size.ranks() <= most) all.push_back(size);
      }
    }
  }
  return all;
}

// Heads divide over 1 to 4 ranks; vocabulary, feed-forward width, rows and parameter counts over
// none of 2, 3 and 4.
inline model::Shape divisible_shape(const LayoutCase& c) {
  model::Shape shape;
  shape.hidden = 36;
  shape.layers = 3;
  shape.heads = 12;
  shape.kv_heads = c.kv_heads;
  shape.head_width = c.head_width;
  shape.ffn = 37;
  shape.vocab = 53;
  shape.max_seq = kSeqLen;
  shape.tied = c.tied;
  shape.qkv_bias = c.qkv_bias;
  shape.qk_norm = c.qk_norm;
  shape.validate("test");
  return shape;
}

// Twenty-four packs: they divide over 1, 2, 3, 4, 6 and 8 ranks. Some ranks have no trainable
// token.
inline std::vector<Pack> many_packs(uint64_t seed) {
  auto packs = ragged_packs(seed);
  for (auto& pack : ragged_packs(seed + 50)) packs.push_back(std::move(pack));
  return packs;
}

// Collective over the model's mesh. Every parameter's whole, reduced gradient, on every rank.
inline std::vector<at::Tensor> gradients_of(model::Model& model) {
  std::vector<at::Tensor> all;
  for (size_t u = 0; u < model.unit_count(); ++u) {
    const parallel::Unit& unit = model.unit(u);
    const size_t first = all.size();
    for (const auto& parameter : unit.parameters()) {
      all.push_back(at::zeros({parameter.numel()}, at::kFloat));
    }
    parallel::for_each_written_run(
        unit,
        [&](size_t i, base::Slice global, const parallel::OwnedSegment& segment, int64_t offset) {
          all[first + i]
              .narrow(0, global.begin, global.size())
              .copy_(unit.owned_grads(segment).narrow(0, offset, global.size()));
        });
    for (size_t i = first; i < all.size(); ++i) {
      model.mesh().world().all_sum(all[i], comm::Purpose::kOther).wait();
    }
  }
  return all;
}

inline std::unique_ptr<model::Model> model_of(const LayoutCase& c, parallel::Mesh& mesh) {
  const model::ModelSettings settings{.state = {.training = true,
                                                .zero = c.zero,
                                                .lanes = c.lanes,
                                                .bf16_exchange = c.bf16_exchange,
                                                .compute = c.compute,
                                                .moments = c.moments,
                                                .device = c.device},
                                      .recompute = c.recompute};
  auto model = std::make_unique<model::Model>(divisible_shape(c), mesh, settings);
  model->initialise(5);
  return model;
}

// How far from one rank a layout may be. In bfloat16 tensor ranks round partial sums that one rank
// does not have; without them rows are computed alike, and only sums of gradients differ.
struct Bounds {
  double loss, gradient, weight;
};
inline Bounds bounds_of(const LayoutCase& c) {
  if (c.compute == at::kBFloat16 && c.mesh.tensor > 1) return {2e-3, 1e-1, 2e-1};
  // A sum that differs in its last bit may round a weight otherwise after the first update, and
  // Adam makes much of small gradients.
  if (c.compute == at::kBFloat16) return {1e-5, 1e-5, 2e-2};
  return {1e-5, 1e-5, 1e-4};
}

// Losses, gradients and weights of `steps` steps against one rank with the whole batch.
inline void check_layout(const LayoutCase& c, comm::Group& world, comm::Control& control,
                         int64_t steps = 2, size_t micro_packs = 3) {
  SCOPED_TRACE(name_of(c));
  const Bounds bounds = bounds_of(c);
  Alone alone;
  parallel::Mesh one(*alone.group);
  LayoutCase plain = c;
  plain.mesh = {};
  plain.recompute = {};
  plain.lanes = 0;
  const auto reference = model_of(plain, one);
  parallel::Mesh mesh(world, c.mesh);
  const auto model = model_of(c, mesh);
  Stepper expected_stepper(*reference, alone.control);
  Stepper stepper(*model, control);
  for (int64_t step = 1; step <= steps; ++step) {
    const auto packs = many_packs(static_cast<uint64_t>(step));
    StepSettings settings = settings_of(step);
    if (steps > 2) settings.adamw.lr = 1e-3;
    const auto expected = expected_stepper.run({batch_of(packs, 0, packs.size())}, settings);
    const auto got = stepper.run(share_of(packs, mesh.data(), micro_packs), settings);
    EXPECT_NEAR(got.totals.loss(), expected.totals.loss(),
                (step == 1 ? 1 : 10) * bounds.loss * expected.totals.loss());
    EXPECT_EQ(got.totals.weight, expected.totals.weight);
    if (step <= 2 && bounds.loss <= 1e-5) {
      EXPECT_EQ(got.totals.correct, expected.totals.correct);
    }
    EXPECT_EQ(got.totals.trainable_tokens, expected.totals.trainable_tokens);
    if (step > 1) continue;
    EXPECT_NEAR(got.grad_norm, expected.grad_norm, bounds.gradient * expected.grad_norm);
    const auto wanted = gradients_of(*reference);
    const auto found = gradients_of(*model);
    size_t i = 0;
    for (size_t u = 0; u < model->unit_count(); ++u) {
      for (const auto& parameter : model->unit(u).parameters()) {
        EXPECT_LT(test::relative_error(found[i], wanted[i]), bounds.gradient) << parameter.name;
        ++i;
      }
    }
  }
  // Later on Adam turns the noise of gradients near 0 into steps: the loss alone stays close.
  if (steps > 2) return;
  const auto wanted = weights_of(*reference);
  const auto found = weights_of(*model);
  for (size_t i = 0; i < wanted.size(); ++i) {
    EXPECT_LT(test::relative_error(found[i], wanted[i]), bounds.weight) << i;
  }
}

// A checkpoint of any layout is read on any other: the same weights and moments, to the bit.
inline checkpoint::SaveResult save_layout(model::Model& model, const std::string& folder,
                                          const std::string& name, comm::Control& control) {
  checkpoint::SaveRequest request;
  request.folder = folder;
  request.name = name;
  request.tensors = logical_tensors(model, true);
  request.pieces = ModelOnHost(model, true).pieces();
  request.state = nlohmann::json::object();
  return checkpoint::save(request, control);
}

// Variants of the model that a tensor size divides, one after another.
inline std::vector<LayoutCase> variants(const parallel::MeshSize& mesh, int zero) {
  std::vector<LayoutCase> all;
  for (const bool tied : {false, true}) {
    LayoutCase c;
    c.mesh = mesh;
    c.zero = zero;
    c.tied = tied;
    // One key/value head over all ranks; two over four; grouped heads in slices.
    const int64_t grouped = mesh.tensor == 3 ? 6 : mesh.tensor == 4 ? 2 : 4;
    c.kv_heads = zero == 0 ? 1 : zero == 1 ? grouped : zero == 2 ? 12 : grouped;
    c.qkv_bias = zero == 1;
    c.qk_norm = zero >= 2;
    all.push_back(c);
  }
  return all;
}

// Every mesh of as many ranks as there are, every stage, tied and untied heads.
inline void check_all_layouts(comm::Group& world, comm::Control& control,
                              at::ScalarType compute = at::kFloat) {
  for (const auto& mesh : meshes_up_to(world.size())) {
    if (mesh.ranks() != world.size()) continue;
    for (int zero = 0; zero <= 3; ++zero) {
      // Stage 0 divides nothing: its ranks are replicas.
      if (zero == 0 && mesh.shard > 1) continue;
      for (LayoutCase c : variants(mesh, zero)) {
        c.compute = compute;
        check_layout(c, world, control);
      }
    }
  }
}

// Gradients of one step, of data-parallel ranks alone. `bf16` as in the name: what each rank has
// summed is rounded to 8 bits once, so the error is about 2^-9, and not zero.
inline void check_bf16_exchange(comm::Group& world, comm::Control& control) {
  Alone alone;
  parallel::Mesh one(*alone.group);
  const auto packs = many_packs(1);
  LayoutCase c;
  c.kv_heads = 4;
  const auto reference = model_of(c, one);
  Stepper(*reference, alone.control).run({batch_of(packs, 0, packs.size())}, settings_of(1));
  const auto wanted = gradients_of(*reference);
  c.bf16_exchange = true;
  for (const auto& mesh : {parallel::MeshSize{1, world.size(), 1}, {world.size(), 1, 1}}) {
    c.mesh = mesh;
    for (c.zero = 1; c.zero <= 3; ++c.zero) {
      SCOPED_TRACE(name_of(c));
      parallel::Mesh place(world, c.mesh);
      const auto model = model_of(c, place);
      Stepper stepper(*model, control);
      stepper.run(share_of(packs, place.data(), 3), settings_of(1));
      const auto found = gradients_of(*model);
      for (size_t i = 0; i < wanted.size(); ++i) {
        EXPECT_LT(test::relative_error(found[i], wanted[i]), 4e-3) << i;
        EXPECT_GT(test::relative_error(found[i], wanted[i]), 1e-5) << i;
      }
    }
  }
}

// --- Reproducible mode (contract 6) and recomputation: equality to the bit.

// Losses and norms step by step, and the digest of the weights after the last one.
struct Trajectory {
  std::vector<double> figures;
  std::string digest;
  bool operator==(const Trajectory&) const = default;
};

inline constexpr int64_t kLanes = 8;

// Twenty-four packs in lanes of three; the same on every rank.
inline StepResult lane_step(Stepper& stepper, parallel::Mesh& mesh, int64_t step,
                            size_t micro_packs) {
  return stepper.run(share_of(many_packs(static_cast<uint64_t>(step)), mesh.data(), micro_packs),
                     settings_of(step));
}

// `steps` steps on one layout. Every third step is evaluated on packs of its own.
inline Trajectory trajectory(const LayoutCase& c, comm::Group& world, comm::Control& control,
                             int64_t steps, size_t micro_packs) {
  parallel::Mesh mesh(world, c.mesh);
  const auto model = model_of(c, mesh);
  Stepper stepper(*model, control);
  Trajectory result;
  for (int64_t step = 1; step <= steps; ++step) {
    const auto done = lane_step(stepper, mesh, step, micro_packs);
    result.figures.insert(result.figures.end(), {done.totals.loss(), done.grad_norm});
  }
  result.digest = digest_of(*model, false);
  return result;
}

}  // namespace rondo::train
