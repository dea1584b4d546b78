// Laws: a checkpoint of any layout goes on on any other. It holds the same tensors there, the next
// steps have the same losses, and in reproducible mode the same bits where the tensor size is the
// same.

#include "support/temp_folder.hpp"
#include "train/layout_laws.hpp"

namespace rondo::train {
namespace {

// replicate x shard x tensor.
std::vector<parallel::MeshSize> layouts(bool divide_eight) {
  std::vector<parallel::MeshSize> all = {{1, 1, 1}, {2, 1, 1}, {1, 2, 1}, {1, 1, 2},
                                         {1, 2, 2}, {2, 2, 1}, {1, 4, 1}};
  if (!divide_eight) all.push_back({1, 3, 1});
  return all;
}

class Reshard : public testing::TestWithParam<int64_t> {
 protected:
  struct Saved {
    LayoutCase layout;
    std::string name;
    std::string digest;
    Trajectory next;  // two more steps without an interruption
  };

  // Losses and norms of steps 2 and 3, and the weights after them.
  static Trajectory go_on(Stepper& stepper, model::Model& model, parallel::Mesh& mesh) {
    Trajectory result;
    for (const int64_t step : {2, 3}) {
      const auto done = lane_step(stepper, mesh, step, 3);
      result.figures.insert(result.figures.end(), {done.totals.loss(), done.grad_norm});
    }
    result.digest = digest_of(model, false);
    return result;
  }

  std::vector<LayoutCase> cases() const {
    std::vector<LayoutCase> all;
    for (const auto& mesh : layouts(GetParam() > 0)) {
      for (const int zero : {1, 3}) {
        LayoutCase c;
        c.mesh = mesh;
        c.zero = zero;
        c.kv_heads = 4;
        c.lanes = GetParam();
        all.push_back(c);
      }
    }
    return all;
  }

  Saved save(const LayoutCase& c, const std::string& name) {
    Saved saved{c, name, {}, {}};
    on_ranks(c.mesh.ranks(), [&](comm::Group& world, comm::Control& control) {
      parallel::Mesh mesh(world, c.mesh);
      const auto model = model_of(c, mesh);
      Stepper stepper(*model, control);
      lane_step(stepper, mesh, 1, 3);
      const auto result = save_layout(*model, folder_.path(), name, control);
      const auto next = go_on(stepper, *model, mesh);
      if (world.rank() != 0) return;
      saved.digest = result.digest;
      saved.next = next;
    });
    return saved;
  }

  void expect_goes_on(const Saved& saved, const LayoutCase& c) {
    SCOPED_TRACE(fmt::format("from {} to {}", name_of(saved.layout), name_of(c)));
    on_ranks(c.mesh.ranks(), [&](comm::Group& world, comm::Control& control) {
      parallel::Mesh mesh(world, c.mesh);
      const auto model = model_of(c, mesh);
      restore(
          checkpoint::Checkpoint::open(folder_ / saved.name, control, checkpoint::Verify::kFull),
          *model, true);
      const auto again = save_layout(*model, folder_.path(), saved.name + "-again", control);
      Stepper stepper(*model, control);
      const auto next = go_on(stepper, *model, mesh);
      if (world.rank() != 0) return;
      EXPECT_EQ(again.digest, saved.digest);
      const bool same_tensor = c.mesh.tensor == saved.layout.mesh.tensor;
      if (GetParam() > 0 && same_tensor) {
        EXPECT_EQ(next, saved.next);
      } else {
        for (size_t i = 0; i < next.figures.size(); ++i) {
          EXPECT_NEAR(next.figures[i], saved.next.figures[i],
                      1e-5 * std::abs(saved.next.figures[i]));
        }
      }
      checkpoint::delete_folder(folder_ / (saved.name + "-again"));
    });
  }

  test::TempFolder folder_;
};

TEST_P(Reshard, AnyLayoutGoesOnOnAnyOther) {
  int count = 0;
  for (const LayoutCase& from : cases()) {
    const Saved saved = save(from, fmt::format("from-{}", count++));
    for (const LayoutCase& to : cases()) expect_goes_on(saved, to);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, Reshard, testing::Values(0, kLanes), [](const auto& mode) {
  return mode.param == 0 ? "Plain" : "Reproducible";
});

}  // namespace
}  // namespace rondo::train
