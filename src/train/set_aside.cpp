#include "train/set_aside.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.hpp"
#include "checkpoint/checkpoint.hpp"

namespace rondo::train {

namespace {

// The lines of a round.
std::string lines_of(const std::string& metrics, const std::string& round) {
  std::string lines;
  if (!std::filesystem::exists(metrics)) return lines;
  std::istringstream all(base::read_text(metrics));
  for (std::string text; std::getline(all, text);) {
    const auto line = nlohmann::json::parse(text, nullptr, false);
    if (line.is_object() && line.value("round", "") == round) lines += text + "\n";
  }
  return lines;
}

}  // namespace

void put_aside(const Config& config, const Outcomes& outcomes) {
  const std::string folder = config.run_folder() + "/checkpoints";
  for (const auto& listed : checkpoint::list(folder)) {
    if (!listed.damage.empty() || outcomes.allow(listed.state)) continue;
    if (!listed.state.value("round_trained", false)) {
      checkpoint::delete_folder(checkpoint::put_aside(folder, listed.name));
      continue;
    }
    const std::string round = listed.state.value("round_name", "");
    const std::string target = fmt::format("{}/aside/{}.{}", config.run_folder(), round,
                                           listed.state.value("attempt", int64_t{0}));
    std::filesystem::create_directories(target);
    base::write_text_durably(target + "/metrics.jsonl",
                             lines_of(config.run_folder() + "/metrics.jsonl", round));
    // Last: where it is still there, all is done again.
    std::filesystem::remove_all(target + "/checkpoint");
    std::filesystem::rename(folder + "/" + listed.name, target + "/checkpoint");
  }
}

}  // namespace rondo::train
