#include "app/stop_ids.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/checkpoint.hpp"
#include "model/hf_folder.hpp"
#include "train/model_source.hpp"

namespace rondo::app {

std::vector<int32_t> default_stop_ids(const std::string& model, int64_t end_of_turn_of_prompts,
                                      const model::Shape& shape, comm::Control& control) {
  std::vector<int64_t> candidates = {end_of_turn_of_prompts};
  std::string folder = model;
  if (train::is_checkpoint(model)) {
    const auto source = checkpoint::Checkpoint::open(model, control, checkpoint::Verify::kManifest);
    const auto trained = source.state().value("end_of_turn", std::vector<int64_t>{});
    candidates.insert(candidates.end(), trained.begin(), trained.end());
    folder = source.state().value("tokenizer", "");
  }
  // Large files of a tokenizer are read once, not on every rank.
  std::string text;
  control.on_first([&] {
    // A checkpoint may have been moved away from its tokenizer.
    if (!std::filesystem::is_directory(folder)) folder.clear();
    text = nlohmann::json(model::read_special_ids(folder, candidates).eos).dump();
  });
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : nlohmann::json::parse(control.broadcast_text(text))) {
    const auto value = id.get<int64_t>();
    if (value >= 0 && value < shape.vocab) ids.push_back(static_cast<int32_t>(value));
  }
  return ids;
}

}  // namespace rondo::app
