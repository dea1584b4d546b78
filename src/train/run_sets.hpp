// The packed sets of a run, open for reading, and what evaluates the held-out ones.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "data/packed_set.hpp"
#include "train/evaluation.hpp"
#include "train/run_data.hpp"

namespace rondo::train {

class RunSets {
 public:
  // Called on every rank, once the sets are there. `vocab`: ids of the model.
  RunSets(const RunData& data, const Config& config, int64_t vocab);

  // Packed anew.
  void open_round(size_t i, const data::PackRequest& request, int64_t vocab);
  // Of a round that trains.
  const data::PackedSet& round(size_t i) const { return *rounds_.at(i); }
  std::vector<int64_t> packs_of_rounds() const;  // 0 for one that does not
  bool any_heldout() const { return !heldout_.empty() && !heldout_.begin()->second.empty(); }

  // Of every held-out source, or of `only`, at most `max_examples` of each (evaluate.max_examples).
  Evaluator evaluator(int64_t max_examples, const Config& config, comm::Group& group,
                      comm::Control& control, const std::string& only = "") const;

 private:
  const data::PackedSet* open(const data::PackRequest& request, int64_t vocab);

  std::vector<std::unique_ptr<data::PackedSet>> all_;
  std::vector<const data::PackedSet*> rounds_;                  // null for one that does not train
  std::map<int64_t, std::vector<Evaluator::Heldout>> heldout_;  // by max_examples
};

}  // namespace rondo::train
