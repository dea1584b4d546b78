// Flat units: every element has one owner, sums and gathers meet, and the layout changes nothing.
#include "parallel/unit.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <tuple>

#include "base/error.hpp"
#include "comm/local_world.hpp"
#include "parallel/copies.hpp"
#include "parallel/owned_on_host.hpp"
#include "parallel/reduction.hpp"

namespace rondo::parallel {
namespace {

// Odd sizes, one parameter larger than a bucket.
std::vector<Parameter> parameters() {
  return {{.name = "norm", .shape = {7}, .decay = false, .init_value = 1},
          {.name = "q", .shape = {5, 7}, .init_std = 0.5},
          {.name = "k", .shape = {3, 7}, .joined = true, .init_std = 0.5},
          {.name = "big", .shape = {1100, 1000}, .init_std = 0.02}};
}

// Every mesh of at most eight ranks with sizes from 1 to 4.
std::vector<MeshSize> meshes() {
  std::vector<MeshSize> all;
  for (int replicate = 1; replicate <= 4; ++replicate) {
    for (int shard = 1; shard <= 4; ++shard) {
      for (int tensor = 1; tensor <= 4; ++tensor) {
        const MeshSize size{replicate, shard, tensor};
        if (size.ranks() <= 8) all.push_back(size);
      }
    }
  }
  return all;
}

// Calls body(mesh, settings) on threads for every mesh and stage; sizes that pieces divide over.
template <class Body>
void on_layouts(const Body& body) {
  for (const MeshSize& size : meshes()) {
    for (int zero = 1; zero <= 3; ++zero) {
      comm::LocalWorld::run(size.ranks(), [&](comm::Group& world) {
        const c10::InferenceMode guard;
        Mesh mesh(world, size);
        body(mesh, StateSettings{.training = true, .zero = zero});
      });
    }
  }
}

// Of a block in small: column- and row-parallel matrices, heads (12 divide over 1 to 4), key/value
// heads that several ranks share (2 over 4, 1 over all), and rows that divide over no size.
std::vector<Parameter> split_parameters() {
  const auto split = [](const char* name, std::vector<int64_t> shape, Split how, int64_t pieces) {
    Parameter parameter;
    parameter.name = name;
    parameter.shape = std::move(shape);
    parameter.split = how;
    parameter.pieces = pieces;
    parameter.init_std = 0.5;
    return parameter;
  };
  auto list = parameters();
  list.back().init_std = 0;  // a million random numbers take their time
  list.push_back(split("q", {24, 7}, Split::kRows, 12));
  list.push_back(split("kv", {6, 7}, Split::kRows, 1));
  list.push_back(split("o", {7, 24}, Split::kColumns, 12));
  list.push_back(split("gate", {37, 7}, Split::kRows, 0));
  list.push_back(split("down", {7, 37}, Split::kColumns, 0));
  list.push_back(split("few", {2, 5}, Split::kRows, 0));
  return list;
}

TEST(LocalPart, SlicesOfEveryParameterMakeItWhole) {
  for (const Parameter& parameter : split_parameters()) {
    for (int size = 1; size <= 4; ++size) {
      at::Tensor seen = at::zeros({parameter.numel()}, at::kInt);
      for (int rank = 0; rank < size; ++rank) {
        const LocalPart part = local_part(parameter, {rank, size});
        EXPECT_EQ(part.shape, local_part(parameter, {0, size}).shape);
        EXPECT_EQ(part.parts * part.copies, size);
        if (part.copy > 0) continue;
        int64_t local_end = 0;
        for_each_run(parameter, part, {0, part.numel()}, [&](const StoredRun& run) {
          EXPECT_GE(run.local, local_end);
          local_end = run.local + run.global.size();
          seen.narrow(0, run.global.begin, run.global.size()).add_(1);
        });
        EXPECT_LE(local_end, part.numel());
      }
      EXPECT_TRUE(at::all(seen == 1).item<bool>()) << parameter.name << " over " << size;
    }
  }
}

TEST(LocalPart, RunsOfAPartMeetThoseOfTheWhole) {
  const Parameter down = split_parameters().at(8);
  const LocalPart part = local_part(down, {3, 4});  // 10 columns, of which 7 exist
  std::vector<std::tuple<int64_t, int64_t, int64_t>> runs;
  for_each_run(down, part, {5, 18}, [&](const StoredRun& run) {
    runs.emplace_back(run.global.begin, run.global.end, run.local);
  });
  const std::vector<std::tuple<int64_t, int64_t, int64_t>> expected = {{35, 37, 5}, {67, 74, 10}};
  EXPECT_EQ(runs, expected);
}

TEST(Unit, SameSeedGivesTheSameWeightsForEveryLayout) {
  std::vector<at::Tensor> reference;
  BufferPool alone;
  const auto self = comm::make_self_group();
  Mesh one(*self);
  Unit whole("u", split_parameters(), one, {}, alone);
  whole.initialise(9);
  for (size_t i = 0; i < whole.parameters().size(); ++i) reference.push_back(whole.whole(i));
  EXPECT_EQ(reference[0].sum().item<double>(), 7);
  on_layouts([&](Mesh& mesh, const StateSettings& settings) {
    BufferPool pool;
    Unit unit("u", split_parameters(), mesh, settings, pool);
    unit.initialise(9);
    for (size_t i = 0; i < reference.size(); ++i) {
      EXPECT_TRUE(at::equal(unit.whole(i), reference[i])) << unit.parameters()[i].name;
    }
  });
}

TEST(Unit, EveryElementIsWrittenByExactlyOneRank) {
  std::mutex mutex;
  std::vector<at::Tensor> writers;
  int ranks_done = 0;
  on_layouts([&](Mesh& mesh, const StateSettings& settings) {
    BufferPool pool;
    const Unit unit("u", split_parameters(), mesh, settings, pool);
    const std::scoped_lock lock(mutex);
    if (ranks_done == 0) {
      writers.clear();
      for (const auto& p : unit.parameters()) writers.push_back(at::zeros({p.numel()}, at::kInt));
    }
    for_each_written_run(
        unit, [&](size_t i, base::Slice global, const OwnedSegment& segment, int64_t offset) {
          EXPECT_LE(offset + global.size(), segment.local.size());
          writers[i].narrow(0, global.begin, global.size()).add_(1);
        });
    if (++ranks_done < mesh.size().ranks()) return;
    ranks_done = 0;
    for (const auto& writer : writers) EXPECT_TRUE(at::all(writer == 1).item<bool>());
  });
}

TEST(Unit, JoinedParametersAreOneMatrix) {
  const auto group = comm::make_self_group();
  Mesh mesh(*group);
  BufferPool pool;
  Unit unit("u", parameters(), mesh, {.training = true}, pool);
  unit.initialise(1);
  unit.finish_gather();
  const at::Tensor joined = unit.joined_weight(1, 2);
  EXPECT_EQ(joined.sizes(), (at::IntArrayRef{8, 7}));
  EXPECT_TRUE(at::equal(joined.narrow(0, 5, 3), unit.weight(2)));
  unit.joined_grad(1, 2).fill_(2);
  EXPECT_EQ(unit.grad(2).sum().item<double>(), 42);
  EXPECT_THROW(unit.joined_weight(0, 2), base::Bug);
}

// Small whole numbers, so that sums are exact in any order.
TEST(Reduction, SumsOverDataRanksAndOverCopies) {
  on_layouts([&](Mesh& mesh, const StateSettings& settings) {
    BufferPool pool;
    Unit unit("u", split_parameters(), mesh, settings, pool);
    Reduction reduction(unit);
    unit.zero_grads();
    const int data = mesh.size().data();
    constexpr int kMicroBatches = 2;
    for (int m = 0; m < kMicroBatches; ++m) {
      unit.begin_grads();
      for (size_t i = 0; i < unit.parameters().size(); ++i) {
        unit.grad(i).add_(static_cast<double>(i + 1) * (mesh.data().rank() + 1) +
                          100 * mesh.tensor().rank());
      }
      const bool last = m + 1 == kMicroBatches;
      if (!last && !settings.transient_grads()) continue;
      reduction.start(last);
      reduction.advance();
    }
    reduction.finish();
    for (const OwnedSegment& segment : unit.layout().segments()) {
      const LocalPart& local = unit.layout().local(segment.parameter);
      double expected = 0;
      for (int copy = 0; copy < local.copies; ++copy) {
        const int tensor_rank = local.part * local.copies + copy;
        expected += static_cast<double>(segment.parameter + 1) * data * (data + 1) / 2.0 +
                    100.0 * tensor_rank * data;
      }
      expected *= kMicroBatches;
      EXPECT_TRUE(at::all(unit.owned_grads(segment) == expected).item<bool>())
          << unit.parameters()[segment.parameter].name;
    }
  });
}

// What a rank has summed is rounded to bfloat16 once; the sum of ranks is a float32 tree.
TEST(Reduction, ABf16ExchangeRoundsOnceAndAddsInFloat32) {
  const auto of_rank = [](int rank, int64_t numel) {
    return at::sin(at::arange(numel, at::kFloat) + 0.37 * rank);
  };
  for (const MeshSize& size : {MeshSize{1, 4, 1}, MeshSize{4, 1, 1}}) {
    for (int zero = 1; zero <= 3; ++zero) {
      comm::LocalWorld::run(size.ranks(), [&](comm::Group& world) {
        const c10::InferenceMode guard;
        Mesh mesh(world, size);
        BufferPool pool;
        Unit unit("u", parameters(), mesh, {.training = true, .zero = zero, .bf16_exchange = true},
                  pool);
        Reduction reduction(unit);
        unit.zero_grads();
        unit.begin_grads();
        for (size_t i = 0; i < unit.parameters().size(); ++i) {
          at::Tensor grad = unit.grad(i).view({-1});
          grad.copy_(of_rank(world.rank(), grad.numel()));
        }
        reduction.start(true);
        reduction.finish();
        for (const OwnedSegment& segment : unit.layout().segments()) {
          std::vector<at::Tensor> rounded;
          for (int rank = 0; rank < 4; ++rank) {
            rounded.push_back(of_rank(rank, unit.parameters()[segment.parameter].numel())
                                  .to(at::kBFloat16)
                                  .to(at::kFloat)
                                  .narrow(0, segment.local.begin, segment.local.size()));
          }
          const at::Tensor expected = (rounded[0] + rounded[1]) + (rounded[2] + rounded[3]);
          EXPECT_TRUE(at::equal(unit.owned_grads(segment), expected)) << segment.parameter;
        }
      });
    }
  }
}

TEST(Unit, UpdatesOfOwnedPartsReachTheWhole) {
  on_layouts([&](Mesh& mesh, const StateSettings& settings) {
    BufferPool pool;
    Unit unit("u", split_parameters(), mesh, settings, pool);
    unit.initialise(1);
    unit.finish_gather();
    unit.release();
    for (size_t b = 0; b < unit.layout().buckets().size(); ++b) unit.owned_weights(b).fill_(3);
    unit.mark_changed();
    unit.finish_gather();
    for (size_t i = 0; i < unit.parameters().size(); ++i) {
      EXPECT_TRUE(at::all(unit.weight(i) == 3).item<bool>());
    }
    unit.release();
    // The second time the buffer is there.
    const int64_t bytes = pool.bytes();
    unit.finish_gather();
    EXPECT_EQ(pool.bytes(), bytes);
  });
}

// A bit of one rank's copy is found by all that share it, and only by them.
TEST(Copies, ThatDifferAreNamed) {
  for (const MeshSize& size : {MeshSize{2, 1, 1}, MeshSize{1, 2, 2}, MeshSize{1, 1, 4}}) {
    comm::LocalWorld::run(size.ranks(), [&](comm::Group& world) {
      const c10::InferenceMode guard;
      Mesh mesh(world, size);
      BufferPool pool;
      Unit unit("u", split_parameters(), mesh, {.training = true}, pool);
      unit.initialise(1);
      EXPECT_EQ(differing_copy(unit), "");
      // The first parameter is a norm, which all tensor ranks hold; rank 0 owns its beginning.
      if (world.rank() == 0) unit.owned_weights(unit.layout().segments()[0])[3] += 1e-6;
      const bool shares = size.replicate > 1 || mesh.shard().rank() == 0;
      const std::string text = differing_copy(unit);
      EXPECT_EQ(text.starts_with("norm: rank "), shares) << text;
      EXPECT_EQ(text.empty(), !shares);
    });
  }
}

// The sum over lanes is one binary tree: with values whose order of addition shows in the result,
// every number of ranks gives the bits of a plain tree over all lanes.
TEST(Reduction, LanesGiveTheSameBitsForEveryNumberOfRanks) {
  constexpr int64_t kLanes = 8;
  const auto of_lane = [](int64_t lane, int64_t numel) {
    return at::sin(at::arange(numel, at::kFloat) * (1.0 + 0.37 * static_cast<double>(lane))) *
           at::pow(at::full({1}, 10.0F), static_cast<double>(lane % 5) - 2);
  };
  std::vector<at::Tensor> tree;
  for (int64_t lane = 0; lane < kLanes; ++lane) tree.push_back(of_lane(lane, 1051 * 1013));
  for (int64_t distance = 1; distance < kLanes; distance *= 2) {
    for (int64_t i = 0; i < kLanes; i += 2 * distance) {
      tree[static_cast<size_t>(i)] =
          tree[static_cast<size_t>(i)] + tree[static_cast<size_t>(i + distance)];
    }
  }
  Parameter parameter;
  parameter.name = "big";
  parameter.shape = {1051, 1013};
  for (const auto& [replicate, shard] :
       {std::pair{1, 1}, {1, 2}, {2, 1}, {1, 4}, {2, 2}, {4, 1}, {1, 8}, {2, 4}, {4, 2}, {8, 1}}) {
    comm::LocalWorld::run(replicate * shard, [&](comm::Group& world) {
      const c10::InferenceMode guard;
      Mesh mesh(world, {replicate, shard, 1});
      BufferPool pool;
      Unit unit("u", {parameter}, mesh, {.training = true, .lanes = kLanes}, pool);
      Reduction reduction(unit);
      unit.zero_grads();
      const int64_t here = kLanes / world.size();
      for (int64_t lane = 0; lane < here; ++lane) {
        unit.grad(0).view({-1}).add_(of_lane(world.rank() * here + lane, parameter.numel()));
        unit.end_lane(lane, here);
      }
      reduction.start(true);
      reduction.finish();
      for (const OwnedSegment& segment : unit.layout().segments()) {
        const at::Tensor expected = tree[0].narrow(0, segment.local.begin, segment.local.size());
        EXPECT_TRUE(at::equal(unit.owned_grads(segment), expected)) << replicate << " x " << shard;
      }
    });
  }
}

// Copies of moments that are not float32 go back with zeros where no parameter is, and what was
// there before stays when it was read.
TEST(OwnedOnHost, BringsBackWhatWasReadAndElseZeros) {
  const auto group = comm::make_self_group();
  Mesh mesh(*group);
  BufferPool pool;
  const Unit unit("u", split_parameters(), mesh,
                  {.training = true, .compute = at::kBFloat16, .moments = at::kBFloat16}, pool);
  OwnedOnHost host(unit, true);
  unit.exp_avg().fill_(0.5);
  host.read();
  const OwnedSegment& segment = unit.layout().segments()[1];
  EXPECT_EQ(host.exp_avg(segment)[0], 0.5F);
  host.exp_avg(segment)[0] = 0.75F;
  unit.exp_avg().zero_();
  host.write();
  EXPECT_EQ(unit.exp_avg()[segment.shard_offset].item<float>(), 0.75F);
  EXPECT_EQ(unit.exp_avg()[segment.shard_offset + 1].item<float>(), 0.5F);

  unit.exp_avg_sq().fill_(std::nan(""));
  OwnedOnHost(unit, true).write();
  EXPECT_EQ(unit.exp_avg_sq().count_nonzero().item<int64_t>(), 0);
  // Weights are their own memory here.
  EXPECT_EQ(host.weights(segment), unit.owned_weights(segment).const_data_ptr<float>());
}

}  // namespace
}  // namespace rondo::parallel
