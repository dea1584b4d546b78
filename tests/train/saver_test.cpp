#include "train/saver.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <span>

#include "base/file.hpp"
#include "checkpoint/toy.hpp"
#include "data/packing.hpp"
#include "model/grow.hpp"
#include "model/hf_config.hpp"
#include "model/hf_folder.hpp"
#include "support/temp_folder.hpp"
#include "train/model_source.hpp"
#include "train/training.hpp"
#include "train/weight_source.hpp"

namespace rondo::train {
namespace {

class SaverTest : public testing::Test {
 protected:
  SaverTest() {
    config_.run = {.name = "r", .dir = folder_.path()};
    config_.rounds.resize(2);
    config_.rounds[0].name = "one";
    config_.rounds[1].name = "two";
    state_.model_config = model::write_hf_config(tiny_shape(), {}, "float32");
  }

  // Folder of a checkpoint of the model.
  std::string saved(model::Model& model, Alone& alone) {
    Saver saver(config_, model, alone.control, silent_);
    saver.save_step(at(1));
    return find_newest(config_, alone.control, silent_)->path();
  }

  // The state after `step` steps of round `round`.
  RunState at(int64_t step, int64_t round = 0, bool trained = false) const {
    RunState state = state_;
    state.step = step;
    state.round_step = step;
    state.round = round;
    state.round_trained = trained;
    return state;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& listed : checkpoint::list(config_.run_folder() + "/checkpoints")) {
      all.push_back(listed.name);
    }
    return all;
  }

  test::TempFolder folder_;
  Config config_;
  RunState state_;
  base::Console silent_{false};
};

TEST_F(SaverTest, IsDueByStepsByEpochsOrByTheClock) {
  Alone alone;
  const auto model = new_model(*alone.group, 1);
  const Saver saver(config_, *model, alone.control, silent_);
  config_.checkpoint.every = {.steps = 3};
  EXPECT_FALSE(saver.due(at(2), 5));
  EXPECT_TRUE(saver.due(at(3), 5));
  EXPECT_TRUE(saver.due(at(6), 5));
  config_.checkpoint.every = {.epoch = true};
  EXPECT_FALSE(saver.due(at(3), 5));
  EXPECT_TRUE(saver.due(at(10), 5));
  config_.checkpoint.every = {.seconds = 1e6};
  EXPECT_FALSE(saver.due(at(3), 5));
  config_.checkpoint.every = {.seconds = 1e-12};
  EXPECT_TRUE(saver.due(at(3), 5));
  config_.checkpoint.every = {};
  EXPECT_FALSE(saver.due(at(30), 5)) << "never";
}

TEST_F(SaverTest, KeepsTheNewestAndEveryRoundsEnd) {
  on_ranks(2, [&](comm::Group& group, comm::Control& control) {
    const auto model = new_model(group, 1);
    Saver saver(config_, *model, control, silent_);
    EXPECT_FALSE(find_newest(config_, control, silent_).has_value());
    for (const int64_t step : {1, 2, 3}) saver.save_step(at(step));
    saver.save_round(at(4, 0, true));
    for (const int64_t step : {5, 6, 7}) saver.save_step(at(step, 1));
    const auto newest = find_newest(config_, control, silent_);
    ASSERT_TRUE(newest.has_value());
    EXPECT_EQ(newest->name(), "step-00000007");
    EXPECT_EQ(RunState::from_json(newest->state()).step, 7);
  });
  EXPECT_EQ(names(), (std::vector<std::string>{"step-00000007", "step-00000006", "round-00-one"}));
}

TEST_F(SaverTest, SavesInTheBackgroundWhatTheModelWas) {
  on_ranks(2, [&](comm::Group& group, comm::Control& control) {
    const auto model = new_model(group, 1);
    const auto before = weights_of(*model);
    Saver saver(config_, *model, control, silent_, {.background = true});
    EXPECT_FALSE(saver.in_flight());
    saver.begin_step(at(1));
    EXPECT_TRUE(saver.in_flight());
    model->initialise(2);
    model->gather_weights();
    saver.begin_step(at(2));
    saver.finish();
    EXPECT_FALSE(saver.in_flight());
    saver.finish();
    const std::string folder = config_.run_folder() + "/checkpoints/";
    const auto loaded = new_model(group, 3);
    load_weights(folder + "step-00000001", *loaded, Rows::kSame, control, silent_);
    EXPECT_TRUE(same_bits(weights_of(*loaded), before));
    load_weights(folder + "step-00000002", *loaded, Rows::kSame, control, silent_);
    EXPECT_TRUE(same_bits(weights_of(*loaded), weights_of(*model)));
  });
}

TEST_F(SaverTest, ForgivesSomeFailuresInTheMiddleOfARoundAndNoneAtItsEnd) {
  config_.checkpoint.most_failures = 2;
  for (const bool background : {false, true}) {
    on_ranks(2, [&](comm::Group& group, comm::Control& control) {
      const auto model = new_model(group, 1);
      const int64_t first = background ? 100 : 0;
      base::Faults faults("half_written:1:*:throw,voted:0:*:throw,reserved:0:*:throw",
                          group.rank());
      int64_t events = 0;
      Saver saver(config_, *model, control, silent_,
                  {.background = background,
                   .faults = &faults,
                   .event = [&](const nlohmann::json&) { ++events; }});
      saver.begin_step(at(first + 1));
      saver.finish();
      saver.begin_step(at(first + 2));
      saver.finish();
      EXPECT_EQ(events, control.is_first() ? 2 : 0);
      EXPECT_THROW(
          {
            saver.begin_step(at(first + 3));
            saver.finish();
          },
          base::SystemError);
      saver.begin_step(at(first + 4));
      saver.finish();
      EXPECT_EQ(find_newest(config_, control, silent_)->step(), first + 4);
      base::Faults more("half_written:1:*:throw", group.rank());
      Saver last(config_, *model, control, silent_, {.background = background, .faults = &more});
      EXPECT_THROW(last.save_round(at(first + 5)), base::SystemError);
    });
  }
}

TEST_F(SaverTest, WhatIsNotFiniteIsNotSaved) {
  on_ranks(2, [&](comm::Group& group, comm::Control& control) {
    const auto model = new_model(group, 1);
    Saver saver(config_, *model, control, silent_, {.background = true});
    if (group.rank() == 1) model->unit(1).exp_avg().fill_(std::nanf(""));
    saver.begin_step(at(1));
    EXPECT_THAT(test::message_of<base::SystemError>([&] { saver.finish(); }),
                testing::HasSubstr("after step 1 the numbers of optimizer/exp_avg/"));
    EXPECT_FALSE(find_newest(config_, control, silent_).has_value());
  });
}

TEST_F(SaverTest, WhatIsLoadedHasTheDigestOfWhatWasSaved) {
  on_ranks(2, [&](comm::Group& group, comm::Control& control) {
    const auto model = new_model(group, 1);
    Saver saver(config_, *model, control, silent_);
    saver.save_step(at(1));
    const auto path = find_newest(config_, control, silent_)->path();
    const auto load = [&] {
      const auto loaded = new_model(group, 2);
      const auto source =
          checkpoint::Checkpoint::open(path, control, checkpoint::Verify::kManifest);
      restore_all(source, *loaded, true, control);
      return digest_of(*loaded, true) == source.digest();
    };
    EXPECT_TRUE(load());
    control.on_first([&] {
      base::File shard = base::File::open_write(path + "/shard-0000.h5");
      const std::byte byte{0x5a};
      shard.write_at(shard.size() / 2, std::span(&byte, 1));
    });
    EXPECT_THAT(test::message_of<base::SystemError>(load),
                testing::HasSubstr("what was loaded has the digest"));
  });
}

TEST(WriterGroup, SharesFilesInsideANode) {
  const std::vector<std::string> hosts = {"a", "a", "b", "a", "b", "b", "a"};
  const auto groups = [&](int64_t writers) {
    std::vector<int> all;
    for (int rank = 0; rank < std::ssize(hosts); ++rank) {
      all.push_back(writer_group(hosts, rank, writers));
    }
    return all;
  };
  EXPECT_EQ(groups(0), (std::vector<int>(7, 0)));
  EXPECT_EQ(groups(1), (std::vector<int>{0, 0, 14, 0, 14, 14, 0}));
  EXPECT_EQ(groups(2), (std::vector<int>{0, 0, 14, 1, 14, 15, 1}));
  const auto each = groups(9);
  EXPECT_EQ(std::set<int>(each.begin(), each.end()).size(), 7U) << "one per rank";
}

TEST_F(SaverTest, DroppingTheOptimizerLeavesTheWeightsAndTheirUse) {
  on_ranks(3, [&](comm::Group& group, comm::Control& control) {
    const auto model = new_model(group, 1);
    const auto before = weights_of(*model);
    Saver saver(config_, *model, control, silent_);
    saver.save_round(at(4, 0, true));
    saver.drop_optimizer(0);
    saver.drop_optimizer(0);
    saver.drop_optimizer(1);
    const auto found = find_newest(config_, control, silent_);
    ASSERT_TRUE(found.has_value()) << "a round's end can be gone on from";
    EXPECT_FALSE(RunState::from_json(found->state()).has_optimizer);
    for (const auto& tensor : found->tensors()) {
      EXPECT_FALSE(tensor.name.starts_with("optimizer/")) << tensor.name;
    }
    EXPECT_TRUE(is_checkpoint(found->path()));
    EXPECT_EQ(read_shape(found->path(), control), tiny_shape());
    const auto loaded = new_model(group, 2);
    load_weights(found->path(), *loaded, Rows::kSame, control, silent_);
    EXPECT_TRUE(same_bits(weights_of(*loaded), before));
  });
}

TEST_F(SaverTest, ResumeMustAndNeverAreObeyed) {
  Alone alone;
  const auto model = new_model(*alone.group, 1);
  Saver saver(config_, *model, alone.control, silent_);
  config_.checkpoint.resume = "must";
  EXPECT_THAT(data::user_error([&] { find_newest(config_, alone.control, silent_); }),
              testing::HasSubstr("checkpoint.resume is must"));
  saver.save_step(at(1));
  EXPECT_TRUE(find_newest(config_, alone.control, silent_).has_value());
  config_.checkpoint.resume = "never";
  EXPECT_THAT(data::user_error([&] { find_newest(config_, alone.control, silent_); }),
              testing::HasSubstr("checkpoint.resume is never"));
}

TEST_F(SaverTest, ACheckpointOfAnotherShapeIsRefused) {
  Alone alone;
  const auto model = new_model(*alone.group, 1);
  const std::string path = saved(*model, alone);
  model::Shape shape = tiny_shape();
  shape.ffn = 48;
  model::Model other(shape, *alone.group, true);
  EXPECT_THAT(
      data::user_error([&] { load_weights(path, other, Rows::kSame, alone.control, silent_); }),
      testing::HasSubstr("another model than the one trained here: intermediate_size"));
  EXPECT_THAT(data::user_error([&] { read_shape(folder_ / "nowhere", alone.control); }),
              testing::HasSubstr("there is no such folder"));
}

TEST_F(SaverTest, MoreEmbeddingRowsStartAsTheMeanOfTheOldOnes) {
  Alone alone;
  const auto model = new_model(*alone.group, 1);
  const std::string checkpoint = saved(*model, alone);
  const std::string folder = folder_ / "hf";
  model::export_hf(*model, {.target = folder}, alone.control);
  model::Shape grown = tiny_shape();
  grown.vocab += 3;
  for (const std::string& path : {checkpoint, folder}) {
    model::Model larger(grown, *alone.group, true);
    EXPECT_THAT(
        data::user_error([&] { load_weights(path, larger, Rows::kSame, alone.control, silent_); }),
        testing::HasSubstr("vocab_size"));
    load_weights(path, larger, Rows::kMayGrow, alone.control, silent_);
    for (size_t u = 0; u < model->unit_count(); ++u) {
      for (size_t i = 0; i < model->unit(u).parameters().size(); ++i) {
        const at::Tensor old = model->unit(u).weight(i);
        const at::Tensor now = larger.unit(u).weight(i);
        EXPECT_TRUE(at::equal(now.narrow(0, 0, old.size(0)), old));
        const int64_t more = now.size(0) - old.size(0);
        EXPECT_EQ(more, model::has_row_per_id(model->unit(u).parameters()[i].name) ? 3 : 0);
        if (more == 0) continue;
        const at::Tensor mean = old.to(at::kDouble).mean(0).to(at::kFloat).expand({3, -1});
        EXPECT_TRUE(at::allclose(now.narrow(0, old.size(0), more), mean, 1e-6, 1e-9));
      }
    }
  }
}

}  // namespace
}  // namespace rondo::train
