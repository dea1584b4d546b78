#include "train/round_export.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "model/hf_folder.hpp"
#include "storage/publish.hpp"

namespace rondo::train {

std::string exported_folder(const Config& config, const RoundSection& round) {
  return fmt::format("{}/rounds/{}/model", config.run_folder(), round.name);
}

void export_round(const Config& config, const RunState& state, model::Model& model,
                  const std::string& target, comm::Control& control) {
  // One left by an earlier start holds the same weights, or those of a round since undone.
  control.on_first([&] {
    storage::remove_leftovers(target);
    std::filesystem::remove_all(target);
  });
  model::ExportOptions options;
  options.target = target;
  options.tokenizer_folder = config.tokenizer_folder();
  options.type = config.exports.dtype == "bf16"   ? model::ExportType::kBf16
                 : config.exports.dtype == "fp16" ? model::ExportType::kFp16
                                                  : model::ExportType::kFp32;
  options.end_of_turn = state.end_of_turn;
  options.chat_template = state.chat_template;
  model::export_hf(model, options, control);
}

}  // namespace rondo::train
