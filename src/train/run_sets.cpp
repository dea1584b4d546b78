#include "train/run_sets.hpp"

namespace rondo::train {

RunSets::RunSets(const RunData& data, const Config& config, int64_t vocab) {
  for (const auto& request : data.rounds) rounds_.push_back(open(request, vocab));
  const auto add = [&](int64_t max_examples, const std::vector<HeldoutData>& heldout) {
    auto& sets = heldout_[max_examples];
    for (const auto& entry : heldout) sets.push_back({entry.source, open(entry.request, vocab)});
  };
  add(config.evaluate.max_examples, data.heldout);
  for (const auto& [max_examples, heldout] : data.heldout_inside) add(max_examples, heldout);
}

const data::PackedSet* RunSets::open(const data::PackRequest& request, int64_t vocab) {
  all_.push_back(
      std::make_unique<data::PackedSet>(data::PackedSet::open(request.out_folder, vocab)));
  return all_.back().get();
}

std::vector<int64_t> RunSets::packs_of_rounds() const {
  std::vector<int64_t> packs;
  for (const auto* set : rounds_) packs.push_back(set->packs());
  return packs;
}

Evaluator RunSets::evaluator(int64_t max_examples, const Config& config, comm::Group& group,
                             comm::Control& control) const {
  const int64_t micro_packs = config.rounds.front().batch.value.micro_packs.value;
  return {heldout_.at(max_examples), average_of(config), micro_packs, group, control};
}

}  // namespace rondo::train
