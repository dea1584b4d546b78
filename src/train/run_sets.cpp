#include "train/run_sets.hpp"

namespace rondo::train {

RunSets::RunSets(const RunData& data, const Config& config, int64_t vocab) {
  for (const auto& request : data.rounds) {
    rounds_.push_back(request.sources.empty() ? nullptr : open(request, vocab));
  }
  const auto add = [&](int64_t max_examples, const std::vector<HeldoutData>& heldout) {
    auto& sets = heldout_[max_examples];
    for (const auto& entry : heldout) sets.push_back({entry.source, open(entry.request, vocab)});
  };
  add(config.evaluate.max_examples, data.heldout);
  for (const auto& [max_examples, heldout] : data.heldout_inside) add(max_examples, heldout);
}

void RunSets::open_round(size_t i, const data::PackRequest& request, int64_t vocab) {
  rounds_.at(i) = open(request, vocab);
}

const data::PackedSet* RunSets::open(const data::PackRequest& request, int64_t vocab) {
  all_.push_back(
      std::make_unique<data::PackedSet>(data::PackedSet::open(request.out_folder, vocab)));
  return all_.back().get();
}

std::vector<int64_t> RunSets::packs_of_rounds() const {
  std::vector<int64_t> packs;
  for (const auto* set : rounds_) packs.push_back(set == nullptr ? 0 : set->packs());
  return packs;
}

Evaluator RunSets::evaluator(int64_t max_examples, const Config& config, comm::Group& group,
                             comm::Control& control, const std::string& only) const {
  const int64_t micro_packs = config.rounds.front().batch.value.micro_packs.value;
  std::vector<Evaluator::Heldout> heldout = heldout_.at(max_examples);
  if (!only.empty()) {
    std::erase_if(heldout, [&](const Evaluator::Heldout& set) { return set.source != only; });
  }
  return {std::move(heldout), average_of(config), micro_packs, group, control};
}

}  // namespace rondo::train
