// The weights of a model, read unit by unit, from wherever they are: a Hugging Face folder, a
// checkpoint, or a seed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/console.hpp"
#include "checkpoint/checkpoint.hpp"
#include "comm/control.hpp"
#include "model/hf_folder.hpp"
#include "model/model.hpp"
#include "train/model_source.hpp"

namespace rondo::train {

class WeightSource {
 public:
  // Collective over all ranks of `control`. Weights in `path`, which must be of the same model as
  // `shape` (check_same_model). New rows: model/grow.hpp.
  WeightSource(const std::string& path, const model::Shape& shape, Rows rows,
               comm::Control& control);
  // Those that Model::initialise(seed) makes.
  explicit WeightSource(uint64_t seed) : seed_(seed) {}

  // Not collective. What this rank owns of the unit; a gather must follow.
  void read(parallel::Unit& unit);
  // Collective, after the last unit: UserError for weights that are not all finite numbers; remarks
  // for the user.
  void finish(comm::Control& control, base::Console& console) const;

 private:
  uint64_t seed_ = 0;
  std::optional<checkpoint::Checkpoint> checkpoint_;
  std::optional<model::HfWeights> folder_;
};

// Collective over all ranks of `control`, which are the model's: all of it into `model` (not its
// moments).
void load_weights(WeightSource& source, model::Model& model, comm::Control& control,
                  base::Console& console);
void load_weights(const std::string& path, model::Model& model, Rows rows, comm::Control& control,
                  base::Console& console);

}  // namespace rondo::train
