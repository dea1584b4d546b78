// Laws of packing, mixing and loading, for inputs that RapidCheck makes up and makes smaller where
// one fails.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <ranges>

#include "base/file.hpp"
#include "data/loader.hpp"
#include "data/mix.hpp"
#include "data/pack_plan.hpp"
#include "data/packed_set.hpp"
#include "data/packing.hpp"

namespace rondo::data {
namespace {

using rc::gen::inRange;

// A tokenised file in `folder` and a request to pack it.
struct Case {
  test::TokenizedContent content;
  PackRequest request;
};
Case some_case(const test::TempFolder& folder) {
  const auto examples = *inRange<int64_t>(1, 60);
  const auto seq_len = *inRange<int64_t>(8, 80);
  Case made{test::random_tokenized(*rc::gen::arbitrary<uint64_t>(), examples, 2, seq_len), {}};
  test::write_tokenized(folder / "in.h5", made.content);
  made.request = request_for(folder / "in.h5", folder / "out");
  made.request.seq_len = seq_len;
  made.request.seed = *rc::gen::arbitrary<uint64_t>();
  made.request.max_documents = *inRange<int64_t>(0, 6);
  made.request.clean.exact = CleanAction::kOff;
  made.request.clean.near = CleanAction::kOff;
  return made;
}

PackedSet pack_it(const Case& made) {
  pack_on(1, made.request);
  return PackedSet::open(made.request.out_folder, 100);
}

std::map<std::string, std::string> contents(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    files[entry.path().filename().string()] = base::read_text(entry.path().string());
  }
  return files;
}

RC_GTEST_PROP(DataLaws, NoDocumentIsLostDuplicatedOrCrossesAPack, ()) {
  const auto capacity = *inRange<int64_t>(1, 500);
  const auto most = *inRange<int64_t>(0, 8);
  const auto lengths = *rc::gen::container<std::vector<int32_t>>(
      inRange<int32_t>(1, static_cast<int32_t>(capacity) + 1));
  const PackPlan plan = plan_packs(lengths, {.capacity = capacity, .max_documents = most},
                                   *rc::gen::arbitrary<uint64_t>());
  for (int64_t p = 0; p < plan.packs(); ++p) {
    int64_t tokens = 0;
    const auto begin = plan.pack_offsets[static_cast<size_t>(p)];
    const auto end = plan.pack_offsets[static_cast<size_t>(p) + 1];
    for (int64_t i = begin; i < end; ++i) {
      const auto document = static_cast<size_t>(plan.documents[static_cast<size_t>(i)]);
      tokens += lengths[document];
    }
    RC_ASSERT(end > begin);
    RC_ASSERT(tokens <= capacity);
    RC_ASSERT(most == 0 || end - begin <= most);
  }
  std::vector<int64_t> packed(plan.documents.begin(), plan.documents.end());
  std::ranges::sort(packed);
  std::vector<int64_t> all(lengths.size());
  std::iota(all.begin(), all.end(), 0);
  RC_ASSERT(packed == all);
}

RC_GTEST_PROP(DataLaws, EveryTrainableTokenIsSeenOncePerEpochAtAnyRankCount, ()) {
  const test::TempFolder folder;
  const Case made = some_case(folder);
  const PackedSet set = pack_it(made);
  std::map<uint64_t, int64_t> expected;  // trained tokens by example
  for (const auto& example : made.content.examples) {
    expected[example.id] = std::count(example.codes.begin() + 1, example.codes.end(), 1);
  }
  const auto size = *inRange(1, 5);
  const auto micro_packs = *inRange<int64_t>(1, 4);
  const auto micro_batches = *inRange<int64_t>(1, 4);
  const auto epoch = *inRange<int64_t>(0, 3);
  std::map<uint64_t, int64_t> seen;
  for (int rank = 0; rank < size; ++rank) {
    Loader loader(set, {.packs_per_step = size * micro_packs * micro_batches,
                        .micro_packs = micro_packs,
                        .rank = rank,
                        .size = size,
                        .seed = made.request.seed,
                        .read_ahead = *inRange<int64_t>(0, 2) * 2 * micro_packs});
    const int64_t first = epoch * loader.steps_per_epoch();
    for (int64_t step = first; step < first + loader.steps_per_epoch(); ++step) {
      for (const PackedBatch& batch : loader.step(step)) {
        const auto* of = batch.examples.const_data_ptr<int64_t>();
        for (int64_t row = 0; row < batch.examples.numel(); ++row) {
          ++seen[batch.example_ids[static_cast<size_t>(of[row])]];
        }
      }
    }
  }
  RC_ASSERT(seen == expected);
}

RC_GTEST_PROP(DataLaws, LoaderOrderIsThePlansAtAnyRankCount, ()) {
  const test::TempFolder folder;
  const Case made = some_case(folder);
  const PackedSet set = pack_it(made);
  const auto size = *inRange(1, 5);
  const auto micro_packs = *inRange<int64_t>(1, 4);
  const int64_t packs_per_step = size * micro_packs * *inRange<int64_t>(1, 4);
  const LoaderConfig whole{
      .packs_per_step = packs_per_step, .micro_packs = packs_per_step, .seed = made.request.seed};
  Loader alone(set, whole);
  const auto step = *inRange<int64_t>(0, 3 * alone.steps_per_epoch());
  std::vector<uint64_t> gathered;
  for (int rank = 0; rank < size; ++rank) {
    LoaderConfig config = whole;
    config.micro_packs = micro_packs;
    config.rank = rank;
    config.size = size;
    Loader loader(set, config);
    for (const PackedBatch& batch : loader.step(step)) {
      gathered.insert(gathered.end(), batch.example_ids.begin(), batch.example_ids.end());
    }
  }
  RC_ASSERT(gathered == alone.example_ids(step));
}

RC_GTEST_PROP(DataLaws, BytesAreTheSameAtOneToFourRanks, ()) {
  const test::TempFolder folder;
  Case made = some_case(folder);
  // Shares and cleaning take part; a group of examples alike is planted.
  auto& examples = made.content.examples;
  for (size_t i = 2; i < examples.size(); i += 3) {
    examples[i].tokens = examples[0].tokens;
    examples[i].codes = examples[0].codes;
  }
  test::write_tokenized(folder / "in.h5", made.content);
  made.request.clean.exact = CleanAction::kRemove;
  made.request.clean.near = CleanAction::kRemove;
  made.request.clean.max_removed = 1;
  made.request.packs_per_step = *inRange<int64_t>(0, 9);
  made.request.sources[0].passes = *inRange(1, 4);
  if (*rc::gen::arbitrary<bool>()) {
    made.request.mix = Mix{.parts = {{"only", 1.0}}, .tokens = *inRange<int64_t>(500, 4000)};
  }
  pack_on(1, made.request);
  const auto one = contents(made.request.out_folder);
  for (const int ranks : {2, 3, 4}) {
    made.request.out_folder = folder / ("out" + std::to_string(ranks));
    pack_on(ranks, made.request);
    RC_ASSERT(contents(made.request.out_folder) == one);
  }
}

RC_GTEST_PROP(DataLaws, SharesAreWhatWasAskedForOrAreRemarkedOn, ()) {
  const auto parts = *inRange<size_t>(1, 5);
  Mix mix;
  mix.by = *rc::gen::element(MixBy::kTrainable, MixBy::kTokens, MixBy::kExamples);
  mix.tokens = *inRange<int64_t>(1000, 200000);
  std::vector<std::vector<Drawable>> pools;
  int64_t next = 0;
  for (size_t p = 0; p < parts; ++p) {
    mix.parts.push_back({"part" + std::to_string(p), *inRange(1, 20) / 20.0});
    pools.emplace_back();
    const auto count = *inRange<int64_t>(20, 200);
    for (int64_t i = 0; i < count; ++i) {
      const auto tokens = *inRange<int64_t>(2, 60);
      pools.back().push_back({next++, tokens, *inRange<int64_t>(1, tokens)});
    }
  }
  const Drawn drawn = draw(mix, pools, *rc::gen::arbitrary<uint64_t>());
  double asked = 0;
  for (const MixPart& part : mix.parts) asked += part.share;
  for (size_t p = 0; p < parts; ++p) {
    const double is = drawn.report["parts"][p]["realised"][name_of(mix.by)].get<double>();
    const double off = std::abs(is - mix.parts[p].share / asked);
    RC_ASSERT(off <= 0.005 || !drawn.remarks.empty());
    // Nothing is drawn again before all have been drawn as often.
    std::map<int64_t, int64_t> times;
    for (const Drawable& drawable : pools[p]) times[drawable.example] = 0;
    for (const int64_t example : drawn.examples[p]) ++times.at(example);
    const auto [least, most] = std::ranges::minmax(times | std::views::values);
    RC_ASSERT(most - least <= 1);
  }
}

}  // namespace
}  // namespace rondo::data
