#include "train/base_model.hpp"

#include "base/error.hpp"
#include "model/hf_folder.hpp"
#include "train/shape_of.hpp"
#include "train/tokenizer_files.hpp"

namespace rondo::train {

namespace {

void grow(model::Shape& shape, const Config& config) {
  if (config.model.vocab.automatic()) return;
  const int64_t wanted = config.model.vocab.value;
  if (wanted < shape.vocab) {
    base::fail_user(
        "{}: model.vocab = {}, but {} has {} embedding rows, and none is taken away. Give at least "
        "{}, or leave model.vocab out.",
        config.place, wanted, *config.model.from, shape.vocab, shape.vocab);
  }
  shape.vocab = wanted;
}

}  // namespace

Rows rows_of(const Config& config) {
  return config.model.vocab.automatic() ? Rows::kSame : Rows::kMayGrow;
}

model::Shape base_shape(const Config& config, comm::Control& control) {
  model::Shape shape;
  if (config.model.from) {
    shape = read_shape(*config.model.from, control);
    control.on_first([&] {
      if (!is_checkpoint(*config.model.from)) model::check_hf(*config.model.from, shape);
    });
    control.agree([&] { grow(shape, config); });
  } else {
    shape = shape_of(*config.model.shape);
    control.agree([&] { shape.validate(config.place + ": model.shape"); });
  }
  control.agree([&] {
    for (const auto& round : config.rounds) {
      shape.check_length(round.batch.value.seq_len, config.place + ": batch.seq_len");
    }
  });
  return shape;
}

void name_tokenizer(Config& config, comm::Control& control) {
  if (config.tokenizer || !config.model.from || !is_checkpoint(*config.model.from)) return;
  const auto source =
      checkpoint::Checkpoint::open(*config.model.from, control, checkpoint::Verify::kManifest);
  const auto folder = source.state().value("tokenizer", std::string());
  if (holds_tokenizer(folder)) config.tokenizer = folder;
}

}  // namespace rondo::train
