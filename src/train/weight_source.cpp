#include "train/weight_source.hpp"

namespace rondo::train {

WeightSource::WeightSource(const std::string& path, const model::Shape& shape, Rows rows,
                           comm::Control& control) {
  check_same_model(path, shape, rows, control);
  if (is_checkpoint(path)) {
    checkpoint_ = checkpoint::Checkpoint::open(path, control, checkpoint::Verify::kFull);
  } else {
    folder_.emplace(path, shape, control);
  }
}

void WeightSource::read(parallel::Unit& unit) {
  if (checkpoint_) {
    restore(*checkpoint_, unit, false);
  } else if (folder_) {
    folder_->read(unit);
  } else {
    unit.initialise(seed_);
  }
}

void WeightSource::finish(comm::Control& control, base::Console& console) const {
  if (!folder_) return;
  folder_->check_finite(control);
  for (const auto& remark : folder_->remarks()) console.line("{}", remark);
}

void load_weights(WeightSource& source, model::Model& model, comm::Control& control,
                  base::Console& console) {
  control.agree([&] {
    for (size_t u = 0; u < model.unit_count(); ++u) source.read(model.unit(u));
  });
  source.finish(control, console);
  model.gather_weights();
}

void load_weights(const std::string& path, model::Model& model, Rows rows, comm::Control& control,
                  base::Console& console) {
  WeightSource source(path, model.shape(), rows, control);
  load_weights(source, model, control, console);
}

}  // namespace rondo::train
