// AdamW on shards: any number of ranks computes what plain AdamW on whole tensors does.
#include "parallel/optimizer.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "comm/local_world.hpp"
#include "parallel/reduction.hpp"
#include "support/close.hpp"

namespace rondo::parallel {
namespace {

// Element counts that no number of ranks divides; `big` reaches over a bucket's end, so that parts
// of it belong to several ranks in two buckets.
std::vector<Parameter> parameters() {
  return {{.name = "norm", .shape = {7}, .decay = false, .init_value = 1},
          {.name = "q", .shape = {5, 7}, .init_std = 0.5},
          {.name = "q_bias", .shape = {5}, .decay = false, .init_std = 0.5},
          {.name = "big", .shape = {1051, 1013}, .init_std = 0.02}};
}

// The gradient of a parameter on one rank of `size`: small whole numbers, so that sums over ranks
// are exact in any order and the same for every size.
at::Tensor part_of_gradient(size_t parameter, int64_t numel, int64_t step, int rank, int size) {
  const at::Tensor i = at::arange(numel, at::kLong);
  const at::Tensor whole = (i * (7 + static_cast<int64_t>(parameter)) + 3 * step) % 11 - 5;
  const at::Tensor share = (i + step) % 3;
  // Ranks other than the first add what the first one leaves out.
  return (rank == 0 ? at::Tensor(whole - share * (size - 1)) : share).to(at::kFloat);
}

constexpr int64_t kSteps = 3;
constexpr AdamWSettings kSettings = {
    .lr = 0.01, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};

// Weights after kSteps on this many ranks.
std::vector<at::Tensor> train(int size, double clip, std::vector<double>* norms = nullptr,
                              int zero = 1) {
  std::vector<at::Tensor> result;
  comm::LocalWorld::run(size, [&](comm::Group& group) {
    Mesh mesh(group);
    BufferPool pool;
    Unit unit("u", parameters(), mesh, {.training = true, .zero = zero}, pool);
    Reduction reduction(unit);
    unit.initialise(9);
    for (int64_t step = 1; step <= kSteps; ++step) {
      unit.zero_grads();
      unit.begin_grads();
      for (size_t p = 0; p < unit.parameters().size(); ++p) {
        unit.grad(p).view({-1}).copy_(
            part_of_gradient(p, unit.parameters()[p].numel(), step, group.rank(), group.size()));
      }
      reduction.start(true);
      reduction.finish();
      const double norm = std::sqrt(sum_of_squares(OwnedSquaredNorms(unit).entries(), mesh));
      if (norms != nullptr && group.rank() == 0) norms->push_back(norm);
      update_owned(unit, kSettings, step, clip > 0 ? clip / norm : 1);
    }
    for (size_t p = 0; p < unit.parameters().size(); ++p) {
      const at::Tensor weight = unit.whole(p).clone();
      if (group.rank() == size - 1) result.push_back(weight);
    }
  });
  return result;
}

// AdamW as in Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, algorithm
// 2, in float64 on whole tensors.
std::vector<at::Tensor> plain(double clip) {
  const auto self = comm::make_self_group();
  Mesh mesh(*self);
  BufferPool pool;
  Unit unit("u", parameters(), mesh, {}, pool);
  unit.initialise(9);
  std::vector<at::Tensor> w, m, v;
  for (size_t p = 0; p < unit.parameters().size(); ++p) {
    w.push_back(unit.weight(p).to(at::kDouble).view({-1}));
    m.push_back(at::zeros_like(w.back()));
    v.push_back(at::zeros_like(w.back()));
  }
  for (int64_t step = 1; step <= kSteps; ++step) {
    std::vector<at::Tensor> g;
    double squared = 0;
    for (size_t p = 0; p < w.size(); ++p) {
      g.push_back(part_of_gradient(p, w[p].numel(), step, 0, 1).to(at::kDouble));
      squared += g.back().square().sum().item<double>();
    }
    const double scale = clip > 0 ? clip / std::sqrt(squared) : 1;
    const auto t = static_cast<double>(step);
    for (size_t p = 0; p < w.size(); ++p) {
      const at::Tensor gradient = g[p] * scale;
      if (unit.parameters()[p].decay) w[p] = w[p] * (1 - kSettings.lr * kSettings.weight_decay);
      m[p] = m[p] * kSettings.beta1 + gradient * (1 - kSettings.beta1);
      v[p] = v[p] * kSettings.beta2 + gradient.square() * (1 - kSettings.beta2);
      const at::Tensor m_hat = m[p] / (1 - std::pow(kSettings.beta1, t));
      const at::Tensor v_hat = v[p] / (1 - std::pow(kSettings.beta2, t));
      w[p] = w[p] - kSettings.lr * m_hat / (v_hat.sqrt() + kSettings.eps);
    }
  }
  return w;
}

TEST(ShardedAdamW, IsToTheBitTheSameOnAnyNumberOfRanks) {
  for (const double clip : {0.0, 2.0}) {
    std::vector<double> norms;
    const auto one = train(1, clip, &norms);
    ASSERT_EQ(one.size(), parameters().size());
    for (const int size : {2, 3, 4}) {
      std::vector<double> other_norms;
      for (int zero = 1; zero <= 3; ++zero) {
        other_norms.clear();
        const auto several = train(size, clip, &other_norms, zero);
        EXPECT_EQ(other_norms, norms) << size;
        for (size_t p = 0; p < one.size(); ++p) {
          EXPECT_TRUE(at::equal(several[p], one[p])) << size << " ranks, parameter " << p;
        }
      }
    }
  }
}

TEST(ShardedAdamW, IsPlainAdamW) {
  const auto expected = plain(2.0);
  const auto got = train(3, 2.0);
  for (size_t p = 0; p < expected.size(); ++p) {
    EXPECT_LT(test::relative_error(got[p].view({-1}), expected[p]), 1e-6) << p;
  }
}

TEST(ShardedAdamW, DecaysMatricesAlone) {
  comm::LocalWorld::run(3, [&](comm::Group& group) {
    Mesh mesh(group);
    BufferPool pool;
    Unit unit("u", parameters(), mesh, {.training = true}, pool);
    unit.initialise(9);
    std::vector<at::Tensor> before;
    for (size_t p = 0; p < 4; ++p) before.push_back(unit.whole(p).clone());
    unit.zero_grads();
    update_owned(unit, {.lr = 0.5, .weight_decay = 1.0}, 1, 1);
    unit.finish_gather();
    for (size_t p = 0; p < 4; ++p) {
      const bool decays = unit.parameters()[p].decay;
      EXPECT_TRUE(at::equal(unit.weight(p), before[p] * (decays ? 0.5 : 1.0))) << p;
    }
  });
}

}  // namespace
}  // namespace rondo::parallel
