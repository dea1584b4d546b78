#include "train/base_model.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/file.hpp"
#include "model/hf_folder.hpp"
#include "train/shape_of.hpp"
#include "train/tokenizer_files.hpp"

namespace rondo::train {

namespace {

void grow(model::Shape& shape, const Config& config) {
  if (config.model.vocab.automatic()) {
    shape.vocab = std::max(shape.vocab, config.made_vocab);
    return;
  }
  const int64_t wanted = config.model.vocab.value;
  if (wanted < shape.vocab) {
    base::fail_user(
        "{}: model.vocab = {}, but {} has {} embedding rows, and none is taken away. Give at least "
        "{}, or leave model.vocab out.",
        config.place, wanted, *config.model.from, shape.vocab, shape.vocab);
  }
  shape.vocab = wanted;
}

// The tokenizer that tools/prepare made for the bundled chat template, where it made one.
void take_made_tokenizer(Config& config) {
  const std::string folder = config.cache_folder() + "/tokenizer";
  const std::string record = folder + "/made.json";
  const std::string base = config.tokenizer_folder();
  if (!std::filesystem::exists(record)) return;
  std::error_code none;
  const bool named = std::filesystem::equivalent(folder, base, none);  // by the user
  const auto made = nlohmann::json::parse(base::read_text(record), nullptr, false);
  if (!made.is_object() || (!named && made.value("from_hash", "") != tokenizer_hash(base))) {
    base::fail_user(
        "{}: was made from another tokenizer than {}. Start with launch/run (or run tools/prepare "
        "CONFIG), which makes it again.",
        folder, base.empty() ? "that of the configuration, which names none" : base);
  }
  config.tokenizer = folder;
  config.made_vocab = made.value("vocab_size", int64_t{0});
}

}  // namespace

Rows rows_of(const Config& config) {
  const bool same = config.model.vocab.automatic() && config.made_vocab == 0;
  return same ? Rows::kSame : Rows::kMayGrow;
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
  if (!config.tokenizer && config.model.from && is_checkpoint(*config.model.from)) {
    const auto source =
        checkpoint::Checkpoint::open(*config.model.from, control, checkpoint::Verify::kManifest);
    const auto folder = source.state().value("tokenizer", std::string());
    if (holds_tokenizer(folder)) config.tokenizer = folder;
  }
  control.agree([&] { take_made_tokenizer(config); });
}

}  // namespace rondo::train
