#include "generate/over_ranks.hpp"

#include <gtest/gtest.h>

#include <atomic>

#include "base/error.hpp"
#include "comm/local_world.hpp"
#include "generate/models.hpp"

namespace rondo::generate {
namespace {

using test::tiny_shape;
using test::TinyModel;

TEST(OverRanks, CompletionsAreTheSameForEveryNumberOfRanks) {
  for (const double temperature : {0.0, 0.9}) {
    const Options options{.sampling = {.temperature = temperature},
                          .max_new_tokens = 10,
                          .slots = 2,
                          .stop_ids = {3},
                          .with_log_probabilities = true};
    for (const int64_t count : {0, 1, 10}) {
      const auto prompts = test::random_prompts(count, 14, tiny_shape().vocab);
      std::vector<Completion> expected;
      {
        const c10::InferenceMode guard;
        expected = Generator(TinyModel(tiny_shape()).model, options).run(prompts);
      }
      for (const int size : {1, 2, 3, 4}) {
        comm::LocalWorld::run(size, [&](comm::Group&, comm::Control& control) {
          const c10::InferenceMode guard;
          const TinyModel tiny(tiny_shape());
          const auto read = [&](base::Slice range) {
            return std::vector<Prompt>(prompts.begin() + range.begin, prompts.begin() + range.end);
          };
          EXPECT_EQ(complete_over_ranks(Generator(tiny.model, options), count, read, control),
                    expected)
              << size << " ranks, rank " << control.rank();
        });
      }
    }
  }
}

TEST(OverRanks, AFailureOfOneRankIsThrownByAll) {
  std::atomic<int> thrown = 0;
  comm::LocalWorld::run(3, [&](comm::Group&, comm::Control& control) {
    const c10::InferenceMode guard;
    const TinyModel tiny(tiny_shape());
    const auto read = [](base::Slice range) -> std::vector<Prompt> {
      if (range.end == 9) throw base::UserError("the last part is damaged");
      return {};
    };
    try {
      complete_over_ranks(Generator(tiny.model, {}), 9, read, control);
    } catch (const base::UserError&) {
      ++thrown;
    }
  });
  EXPECT_EQ(thrown, 3);
}

}  // namespace
}  // namespace rondo::generate
